// SPDX-License-Identifier: Apache-2.0
// sessions ls | end
#include <algorithm>

#include "broker/desk/command.h"
#include "broker/desk/text.h"
#include "broker/ledger/audit.h"
#include "broker/ledger/vms.h"

namespace latchkey::desk {
namespace {

using ledger::Role;
using protocol::SessionOutcome;
using protocol::SessionPhase;

constexpr Micros kAnswerTime = from_seconds(10); // the VM takes 5 s at most to end it

std::string_view state_of(const ledger::SessionRow& row, bool is_connected) {
    switch (row.phase) {
        case SessionPhase::kOpened:
            return is_connected ? "live" : "last-seen";
        case SessionPhase::kClosed:
            return "closed";
        case SessionPhase::kEnded:
            return "ended";
        case SessionPhase::kRefused:
            break;
    }
    return "refused";
}

std::string outcome_word(const Result<SessionOutcome>& outcome) {
    if (!outcome) return outcome.error().code == Code::kTimedOut ? "unanswered" : "unreachable";
    switch (*outcome) {
        case SessionOutcome::kEnded:
            return "ended";
        case SessionOutcome::kWasGone:
            return "was-gone";
        case SessionOutcome::kStillThere:
            break;
    }
    return "still-there";
}

// Asked for ("allow"), or what came of it; our words and names, nothing to escape.
ledger::AuditEvent event_of(const Call& call, const ledger::SessionRow& session, const std::string& word) {
    std::string detail =
        "{\"session\":\"" + std::to_string(session.id) + "\",\"vm\":\"" + session.vm_name.str() + "\"";
    if (!word.empty()) detail += ",\"outcome\":\"" + word + "\"";
    const bool is_over = word == "ended" || word == "was-gone";
    return {call.actor(), "session.end", session.user.str(),
            word.empty() ? "allow"
            : is_over    ? "done"
                         : "deny",
            detail + "}"};
}

Record record_of(const Call& call, const ledger::SessionRow& row, Shown ends) {
    const bool is_connected = call.context.fleet.is_connected(row.vm);
    const Micros last_seen = std::max(row.vm_last_seen, call.context.fleet.last_heard(row.vm));
    const std::string state(state_of(row, is_connected));
    // Of a VM that is away we know what it said last.
    const std::string text = state == "last-seen" ? "last seen " + ago_text(last_seen, call.now()) : state;
    return {{"id", std::to_string(row.id)},
            {"user", row.user.str()},
            {"login", row.login.str()},
            {"vm", row.vm_name.str()},
            {"from", text_or_null(row.from)},
            {"opened_at", row.opened_at},
            {"state", call.arguments.wants_json() ? state : text},
            {"closed_at", row.closed_at, ends},
            {"end_reason", text_or_null(row.end_reason), ends},
            {"serial", std::to_string(row.serial.value)},
            {"key", row.key.str()},
            {"vm_last_seen", is_connected ? call.now() : last_seen, Shown::kJsonOnly}};
}

Status ls(Call& call) {
    const Arguments& arguments = call.arguments;
    ledger::SessionFilter filter;
    filter.live_only = !arguments.has("--all");
    if (const auto user = arguments.one("--user")) {
        LK_TRY(name, UserName::parse(*user));
        filter.user = name;
    }
    if (const auto vm = arguments.one("--vm")) {
        LK_TRY(name, VmName::parse(*vm));
        filter.vm = name;
    }
    if (!call.is_at_least(Role::kAuditor)) {
        if (filter.user && *filter.user != call.user.name)
            LK_CHECK(call.require(Role::kAuditor, "another's sessions"));
        filter.user = call.user.name;
    }
    LK_TRY(found, call.read([&](ledger::Transaction& t) { return ledger::list_sessions(t, filter); }));
    std::vector<Record> rows;
    const Shown ends = filter.live_only ? Shown::kJsonOnly : Shown::kBoth;
    for (const ledger::SessionRow& row : found) rows.push_back(record_of(call, row, ends));
    call.list("sessions", rows, "no sessions");
    return {};
}

Status end(Call& call) {
    LK_TRY(id, parse_id(call.arguments.at(0)));
    const std::string reason = call.arguments.one("--reason").value_or("ended by " + call.actor());
    LK_CHECK(check_free_text(reason, "--reason", 256));
    LK_TRY(session, call.read([&](ledger::Transaction& t) -> Result<ledger::SessionRow> {
        LK_TRY(row, ledger::find_session(t, id.value));
        const bool may = row && (row->user == call.user.name || call.is_at_least(Role::kAdmin));
        if (!may) return fail(Code::kNotFound, "no session " + std::to_string(id.value), "see: sessions ls");
        if (row->closed_at.value != 0) return fail(Code::kNotFound, "the session has ended already");
        return std::move(*row);
    }));
    // Before it is asked for: whatever becomes of it, the audit knows who wanted it.
    LK_CHECK(call.write(
        [&](ledger::Transaction& t) { return ledger::append_audit(t, event_of(call, session, {})); }));
    const auto outcome = call.context.fleet.end_session(session.vm, session.id, reason,
                                                        call.context.clock.monotonic() + kAnswerTime);
    const std::string word = outcome_word(outcome);
    const bool is_over = word == "ended" || word == "was-gone";
    const std::string& vm = session.vm_name.str();
    // It was ended, whoever its ender is by now: no look at their standing.
    LK_CHECK(call.context.ledger.write(
        [&](ledger::Transaction& t) { return ledger::append_audit(t, event_of(call, session, word)); }));
    const std::string name = "session " + std::to_string(session.id);
    if (!outcome) {
        return fail(outcome.error().code, name + " at " + vm + " may go on: " + outcome.error().message,
                    "to cut it off when that VM is back: revoke cert " +
                        std::to_string(session.serial.value) + " --reason …");
    }
    call.done({{"id", std::to_string(session.id)}, {"vm", vm}, {"outcome", word}},
              word == "ended"      ? "ended " + name + " at " + vm
              : word == "was-gone" ? name + " was gone at " + vm + " already"
                                   : name + " is still there at " + vm);
    if (is_over) return {};
    return fail(Code::kPartial, vm + " could not end " + name, "look at that VM: latchkey-agent status");
}

} // namespace

std::span<const Command> session_commands() {
    static const std::vector<Command> table = {
        {"sessions ls",
         "[--user U] [--vm V] [--all]",
         "live sessions on VMs; your own, or all for auditors",
         Role::kUser,
         Freshness::kAudit,
         0,
         0,
         {{"--user"}, {"--vm"}, {"--all", false}},
         ls},
        {"sessions end",
         "ID [--reason R]",
         "end exactly this session and say what became of it; your own, or any for admins",
         Role::kUser,
         Freshness::kRecent,
         1,
         1,
         {{.name = "--reason", .is_text = true}},
         end},
    };
    return table;
}

} // namespace latchkey::desk
