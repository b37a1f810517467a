// SPDX-License-Identifier: Apache-2.0
#include "broker/desk/desk.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "broker/desk/standing.h"
#include "broker/desk/words.h"
#include "broker/ledger/factors.h"
#include "broker/unlock/enrolment.h"

namespace latchkey::desk {
namespace {

constexpr std::string_view kRecovery = "recovery";

struct Found {
    const Command* command = nullptr;
    std::size_t words = 0; // how many of the line name it
};

// The longest match: "user add" before "user".
Found find(std::span<const std::string> words) {
    Found best;
    for (const Command* command : all_commands()) {
        const std::size_t space = command->words.find(' ');
        const std::size_t count = space == std::string_view::npos ? 1 : 2;
        if (words.size() < count || count <= best.words) continue;
        const std::string given = count == 1 ? words[0] : words[0] + " " + words[1];
        if (given == command->words) best = {command, count};
    }
    return best;
}

// Levenshtein; both words are short.
std::size_t distance(std::string_view a, std::string_view b) {
    std::vector<std::size_t> row(b.size() + 1);
    std::iota(row.begin(), row.end(), 0U);
    for (std::size_t i = 1; i <= a.size(); ++i) {
        std::size_t corner = row[0];
        row[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const std::size_t above = row[j];
            row[j] = std::min({above + 1, row[j - 1] + 1, corner + (a[i - 1] == b[j - 1] ? 0U : 1U)});
            corner = above;
        }
    }
    return row.back();
}

// What the first word may have meant: the commands that begin with it, or nearly.
std::string hint(const std::string& word) {
    constexpr std::size_t kLongestWord = 16;
    std::string near;
    for (const Command* command : all_commands()) {
        if (word.size() < 2 || word.size() > kLongestWord) break;
        const std::string_view first = command->words.substr(0, command->words.find(' '));
        if (first.starts_with(word) || (first.size() > 2 && distance(word, first) < 2)) {
            near += (near.empty() ? "" : ", ") + std::string(command->words);
        }
    }
    return near.empty() ? "run: help" : "there is: " + near;
}

Failure unknown(std::span<const std::string> words) {
    std::string given = words[0];
    if (words.size() > 1 && hint(words[0]) != "run: help") given += " " + words[1];
    return fail(Code::kUsage, "no command " + quote_word(given.substr(0, 64)), hint(words[0]));
}

} // namespace

const std::vector<const Command*>& all_commands() {
    static const std::vector<const Command*> all = [] {
        std::vector<const Command*> list;
        for (const auto part :
             {own_commands(), vm_commands(), token_commands(), user_commands(), key_commands(),
              factor_commands(), group_commands(), grant_commands(), explain_commands(), revoke_commands(),
              session_commands(), audit_commands(), ca_commands()}) {
            for (const Command& command : part) list.push_back(&command);
        }
        return list;
    }();
    return all;
}

Desk::Desk(Context context) : context_(std::move(context)) {
    context_.factors.on_unlock(
        [&fleet = context_.fleet](const auto& user, const auto& key, const auto& unlock) {
            fleet.prefetch(user, key, unlock);
        });
}

int Desk::run(const Caller& caller, std::string_view command_line, Console& console) {
    bool wants_json = false;
    const Status done = dispatch(caller, command_line, console, wants_json);
    if (done) return 0;
    const Error& error = done.error();
    if (wants_json && error.code != Code::kPartial) {
        console.out(error_json(std::string(info(error.code).name), error.message, error.next));
    }
    console.err(error.line() + "\n");
    return info(error.code).exit_status;
}

bool Desk::is_welcome(const Caller& caller) {
    const auto standing =
        context_.ledger.read([&](ledger::Transaction& t) { return look_up_standing(t, caller); });
    if (standing) return true;
    const Code code = standing.error().code;
    return code != Code::kRevoked && code != Code::kLocked;
}

Status Desk::dispatch(const Caller& caller, std::string_view command_line, Console& console,
                      bool& wants_json) {
    LK_TRY(words, split_words(command_line));
    const bool is_command = !words.empty();
    if (!is_command) words.emplace_back("status");
    wants_json = std::find(words.begin(), words.end(), "--json") != words.end();
    const Found found = find(words);
    LK_TRY(call, open(caller, command_line, console));
    if (found.command == nullptr) return unknown(words);
    const Command& command = *found.command;
    LK_CHECK(call.require(command.role, command.words));
    auto arguments =
        Arguments::parse(std::span(words).subspan(found.words), command.flags, command.least, command.most);
    if (!arguments) {
        Error error = std::move(arguments).error();
        error.next = "usage: " + std::string(command.words) + " " + std::string(command.usage);
        return fail(std::move(error));
    }
    call.arguments = std::move(*arguments);
    LK_CHECK(call.ensure_fresh(command.freshness));
    if (caller.has_just_joined) LK_CHECK(welcome(call, is_command));
    return command.run(call);
}

Result<Call> Desk::open(const Caller& caller, std::string_view command_line, Console& console) const {
    // Asked anew with each command: a connection may outlive a role, a key, an unlock.
    LK_TRY(standing,
           context_.ledger.read([&](ledger::Transaction& t) { return look_up_standing(t, caller); }));
    return Call{context_,
                caller,
                console,
                Arguments(),
                std::move(standing.user),
                std::move(standing.key),
                standing.unlock,
                std::string(command_line)};
}

// Once after joining: the recovery codes, which nobody sees again. Under the unlock of that joining alone:
// after a factor reset this connection must not make the account's next factor.
Status Desk::welcome(Call& call, bool is_command) const {
    if (context_.factors.plugin(kRecovery) == nullptr) return {};
    if (!call.unlock || call.unlock->opened_at > call.caller.login_at) return {};
    call.needs_unlock = true;
    LK_TRY(rows, call.read([&](ledger::Transaction& t) { return ledger::factors_of(t, call.user.id); }));
    if (std::any_of(rows.begin(), rows.end(), [](const auto& row) { return row.kind == kRecovery; }))
        return {};
    LK_TRY(pending, unlock::begin(context_.factors, call.user.name, kRecovery));
    LK_TRY(kept, call.write([&](ledger::Transaction& t) {
        return unlock::keep(t, call.user.id, pending, call.actor());
    }));
    (void)kept;
    const std::string text = "You are in, " + call.actor() + ".\n\n" + pending.enrolment.show_text + "\n";
    if (is_command) {
        call.console.err(text);
    } else {
        call.console.out(text);
    }
    return {};
}

} // namespace latchkey::desk
