// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>

#include "broker/desk/command.h"
#include "broker/desk/standing.h"
#include "broker/desk/text.h"
#include "broker/desk/words.h"
#include "broker/ledger/factors.h"
#include "broker/ledger/policy_rows.h"
#include "broker/ledger/users.h"
#include "broker/ledger/vms.h"

namespace latchkey::desk {
namespace {

constexpr int kFactorAttempts = 3;
// The factor of this login was asked before login_at, within the login grace.
constexpr Micros kLoginSpan = from_seconds(120);

// `key add < key.pub` under an old unlock: the key is read where a code is due.
bool is_public_key(std::string_view line) {
    constexpr std::array<std::string_view, 4> kBeginnings = {"ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"};
    return std::any_of(kBeginnings.begin(), kBeginnings.end(),
                       [&](std::string_view beginning) { return line.starts_with(beginning); });
}

std::string person_minutes(Micros span) {
    return std::to_string(std::max<std::int64_t>(1, (span.seconds() + 59) / 60)) + " min";
}

} // namespace

void Call::list(const std::string& name, const std::vector<Record>& rows, std::string_view when_empty) const {
    if (arguments.wants_json()) return console.out(list_json(name, rows));
    if (rows.empty()) return console.out(std::string(when_empty) + "\n");
    console.out(table_text(rows, console.width()));
}

void Call::object(const Record& record) const {
    console.out(arguments.wants_json() ? object_json(record) : object_text(record));
}

void Call::done(const Record& record, const std::string& sentence) const {
    console.out(arguments.wants_json() ? object_json(record) : sentence + "\n");
}

std::string Call::ssh_line(std::string_view words, std::string_view options,
                           std::string_view user_name) const {
    const std::string& address = context.settings.door_address;
    const std::size_t colon = address.rfind(':');
    std::string host = address.substr(0, colon);
    if (host.size() > 2 && host.front() == '[') host = host.substr(1, host.size() - 2);
    std::string text = "ssh ";
    if (!options.empty()) text += std::string(options) + " ";
    if (colon != std::string::npos && address.substr(colon + 1) != "22") {
        text += "-p " + address.substr(colon + 1) + " ";
    }
    text += (user_name.empty() ? user.name.str() : std::string(user_name)) + "@" + host;
    if (!words.empty()) text += " " + std::string(words);
    return text;
}

Status Call::require(ledger::Role role, std::string_view for_what) const {
    if (is_at_least(role)) return {};
    return fail(Code::kRefused, std::string(for_what) + " is for role " + std::string(role_name(role)),
                "ask an admin");
}

Status Call::check_standing(ledger::Transaction& t) const {
    LK_TRY(now_standing, look_up_standing(t, caller));
    if (now_standing.user.role < user.role)
        return fail(Code::kRefused, "your role was changed meanwhile", "see: whoami");
    if (!needs_unlock) return {};
    // Not another one: a factor reset ends the unlock of whoever waits here, and its owner joins anew.
    if (unlock && now_standing.unlock && now_standing.unlock->id == unlock->id) return {};
    return fail(Code::kUnauthenticated, "your unlock ended meanwhile", "run: " + ssh_line(line, "-t"));
}

Status Call::ensure_fresh(Freshness freshness) {
    if (freshness == Freshness::kAudit)
        freshness = is_at_least(ledger::Role::kAuditor) ? Freshness::kUnlock : Freshness::kNone;
    if (freshness == Freshness::kNone) return {};
    needs_unlock = true;
    const auto is_fresh = [&] {
        if (!unlock) return false;
        if (freshness == Freshness::kUnlock) return true;
        const Micros least = freshness == Freshness::kLogin ? caller.login_at - kLoginSpan
                                                            : now() - context.settings.admin_fresh;
        return unlock->factor_at >= least;
    };
    if (is_fresh()) return {};
    for (int attempt = 0; attempt < kFactorAttempts; ++attempt) {
        console.err(context.factors.prompt(user.id));
        auto answer = console.read_line(Echo::kOff);
        if (!answer) {
            if (!console.is_terminal()) console.err("\n");
            return fail(Code::kUnauthenticated, "this wants a second factor and the input has ended",
                        "run: " + ssh_line(line, "-t"));
        }
        if (!console.is_terminal()) console.err("\n");
        if (!console.is_terminal() && is_public_key(as_text(answer->view()))) {
            return fail(Code::kUnauthenticated, "this wants a second factor first, and the input is a key",
                        "run: " + ssh_line("unlock", "-t") + ", then this again");
        }
        LK_TRY(outcome, context.factors.check(user.id, key.id, as_text(answer->view()), caller.from));
        if (outcome.accepted) {
            unlock = outcome.unlock;
            return read([this](ledger::Transaction& t) { return check_standing(t); });
        }
        if (const Micros left = outcome.blocked_until - now(); left.value > 0) {
            return fail(Code::kRefused, "too many wrong codes", "try again in " + person_minutes(left));
        }
        if (outcome.reason != "wrong code" && outcome.reason != "code used before") {
            return fail(Code::kUnauthenticated, outcome.reason, "ask an admin");
        }
        console.err(outcome.reason + "\n");
    }
    return fail(Code::kUnauthenticated, "three codes were not accepted", "run: " + ssh_line(line, "-t"));
}

Result<ledger::User> find_user_named(ledger::Transaction& t, std::string_view name) {
    auto parsed = UserName::parse(name);
    if (!parsed) return fail(parsed.error());
    LK_TRY(user, ledger::find_user(t, *parsed));
    if (!user) return fail(Code::kNotFound, "no user " + parsed->str(), "see: user ls");
    return std::move(*user);
}

Result<ledger::Group> find_group_named(ledger::Transaction& t, std::string_view name) {
    auto parsed = GroupName::parse(name);
    if (!parsed) return fail(parsed.error());
    LK_TRY(group, ledger::find_group(t, *parsed));
    if (!group)
        return fail(Code::kNotFound, "no group " + parsed->str(), "make it with: group add " + parsed->str());
    return std::move(*group);
}

Result<ledger::Vm> find_vm_named(ledger::Transaction& t, std::string_view name) {
    auto parsed = VmName::parse(name);
    if (!parsed) return fail(parsed.error());
    LK_TRY(vm, ledger::find_vm(t, *parsed));
    if (!vm || vm->state != ledger::VmState::kActive) {
        return fail(Code::kNotFound, "no VM " + parsed->str(), "see: vm ls");
    }
    return std::move(*vm);
}

Result<RowId> parse_id(std::string_view text) {
    auto value = parse_number(text, "the id");
    if (!value) return fail(value.error());
    return RowId{*value};
}

std::vector<std::string> login_texts(const std::vector<Login>& logins) {
    std::vector<std::string> texts;
    texts.reserve(logins.size());
    for (const Login& login : logins) texts.push_back(login.str());
    return texts;
}

std::string_view role_name(ledger::Role role) {
    switch (role) {
        case ledger::Role::kUser:
            return "user";
        case ledger::Role::kAuditor:
            return "auditor";
        case ledger::Role::kAdmin:
            return "admin";
    }
    return "unknown";
}

std::string_view state_name(ledger::UserState state) {
    switch (state) {
        case ledger::UserState::kActive:
            return "active";
        case ledger::UserState::kLocked:
            return "locked";
        case ledger::UserState::kRemoved:
            return "removed";
    }
    return "unknown";
}

} // namespace latchkey::desk
