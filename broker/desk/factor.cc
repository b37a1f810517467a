// SPDX-License-Identifier: Apache-2.0
// factor ls | add | rm | reset
#include <algorithm>

#include "broker/desk/command.h"
#include "broker/desk/text.h"
#include "broker/ledger/factors.h"
#include "broker/unlock/enrolment.h"

namespace latchkey::desk {
namespace {

using ledger::Role;

constexpr std::string_view kRecovery = "recovery";
constexpr int kAttempts = 3;

Status ls(Call& call) {
    const auto name = call.arguments.one("--user");
    if (name && *name != call.actor()) LK_CHECK(call.require(Role::kAuditor, "another user's factors"));
    LK_TRY(found, call.read([&](ledger::Transaction& t) -> Result<std::vector<ledger::FactorRow>> {
        RowId owner = call.user.id;
        if (name) {
            LK_TRY(user, find_user_named(t, *name));
            owner = user.id;
        }
        return ledger::factors_of(t, owner);
    }));
    std::vector<Record> rows;
    for (const ledger::FactorRow& factor : found) {
        rows.push_back(
            {{"id", std::to_string(factor.id.value)}, {"kind", factor.kind}, {"added_at", factor.added_at}});
    }
    call.list("factors", rows, "no factors");
    return {};
}

Status add(Call& call) {
    LK_TRY(pending, unlock::begin(call.context.factors, call.user.name, call.arguments.at(0)));
    Console& console = call.console;
    if (!pending.is_confirmed) {
        console.err(pending.enrolment.show_qr + "\n" + pending.enrolment.show_text + "\n");
        for (int attempt = 0; attempt < kAttempts && !pending.is_confirmed; ++attempt) {
            console.err(pending.enrolment.prompt);
            auto answer = console.read_line(Echo::kOff);
            if (!answer) {
                return fail(Code::kUnauthenticated, "the factor was not confirmed and is not kept",
                            "run: " + call.ssh_line(call.line, "-t"));
            }
            if (!console.is_terminal()) console.err("\n");
            LK_TRY(fits, unlock::confirm(call.context.factors, pending, as_text(answer->view())));
            if (!fits) console.err("that code does not fit\n");
        }
        if (!pending.is_confirmed) {
            return fail(Code::kRefused, "the factor was not confirmed and is not kept",
                        "check the clock of your device, then try again");
        }
    }
    LK_TRY(row, call.write([&](ledger::Transaction& t) {
        return unlock::keep(t, call.user.id, pending, call.actor());
    }));
    // Recovery codes are shown here and never again.
    const bool shows_codes = pending.kind == kRecovery;
    Record record{{"id", std::to_string(row.id.value)}, {"kind", row.kind}, {"added_at", row.added_at}};
    if (shows_codes) record.push_back({"show", pending.enrolment.show_text});
    call.done(record, (shows_codes ? pending.enrolment.show_text + "\n" : std::string()) + "added factor " +
                          row.kind + " " + std::to_string(row.id.value));
    return {};
}

Status rm(Call& call) {
    LK_TRY(id, parse_id(call.arguments.at(0)));
    LK_CHECK(call.write([&](ledger::Transaction& t) -> Status {
        LK_TRY(all, ledger::factors_of(t, call.user.id));
        const bool is_own =
            std::any_of(all.begin(), all.end(), [&](const auto& row) { return row.id == id; });
        if (!is_own) return fail(Code::kNotFound, "no such factor of yours", "see: factor ls");
        const bool leaves_one = std::any_of(
            all.begin(), all.end(), [&](const auto& row) { return row.id != id && row.kind != kRecovery; });
        if (!leaves_one) {
            return fail(Code::kRefused, "you could not log in without this factor",
                        "add another one first: factor add totp");
        }
        return ledger::remove_factor(t, call.user.id, id, call.actor());
    }));
    call.done({{"id", std::to_string(id.value)}}, "removed factor " + std::to_string(id.value));
    return {};
}

Status reset(Call& call) {
    const Micros ends_at = call.now() + call.context.settings.invite_for;
    LK_TRY(code, call.write([&](ledger::Transaction& t) -> Result<std::string> {
        LK_TRY(user, find_user_named(t, call.arguments.at(0)));
        LK_CHECK(ledger::remove_factors(t, user.id, call.actor()));
        LK_CHECK(ledger::end_unlocks(t, user.id, call.actor()));
        return ledger::add_invite(t, user.id, ends_at, call.actor());
    }));
    const std::string line = call.ssh_line("", "", "join");
    const std::string& name = call.arguments.at(0);
    call.done({{"user", name}, {"invite", code}, {"invite_ends_at", ends_at}, {"run", line}},
              "Invite code: " + code + "\nremoved all factors of " + name +
                  "; the invite is good once, until " + until_text(ends_at, call.now()) +
                  "\nsend to them: run `" + line + "` with your key and enter the code");
    return {};
}

} // namespace

std::span<const Command> factor_commands() {
    static const std::vector<Command> table = {
        {"factor ls",
         "[--user U]",
         "your factors; anybody's for auditors",
         Role::kUser,
         Freshness::kAudit,
         0,
         0,
         {{"--user"}},
         ls},
        {"factor add",
         "KIND",
         "enrol a further factor: totp, recovery",
         Role::kUser,
         Freshness::kRecent,
         1,
         1,
         {},
         add},
        {"factor rm", "ID", "remove a factor of yours", Role::kUser, Freshness::kRecent, 1, 1, {}, rm},
        {"factor reset",
         "U",
         "remove all factors of a user and invite them anew",
         Role::kAdmin,
         Freshness::kRecent,
         1,
         1,
         {},
         reset},
    };
    return table;
}

} // namespace latchkey::desk
