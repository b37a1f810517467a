// SPDX-License-Identifier: Apache-2.0
// sessions ls | end
#include "broker/desk/command.h"
#include "broker/desk/text.h"
#include "broker/ledger/audit.h"
#include "broker/ledger/vms.h"

namespace latchkey::desk {
namespace {

using ledger::Role;

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
    for (const ledger::SessionRow& row : found) {
        rows.push_back({{"id", std::to_string(row.id)},
                        {"user", row.user.str()},
                        {"login", row.login.str()},
                        {"vm", row.vm_name.str()},
                        {"from", text_or_null(row.from)},
                        {"opened_at", row.opened_at},
                        {"closed_at", row.closed_at, filter.live_only ? Shown::kJsonOnly : Shown::kBoth},
                        {"key", row.key.str(), Shown::kJsonOnly},
                        {"serial", std::to_string(row.serial.value), Shown::kJsonOnly},
                        {"end_reason", text_or_null(row.end_reason),
                         filter.live_only ? Shown::kJsonOnly : Shown::kBoth}});
    }
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
    LK_CHECK(call.context.fleet.end_session(session.vm, session.id, reason));
    LK_CHECK(call.write([&](ledger::Transaction& t) {
        return ledger::append_audit(t, {call.actor(), "session.end", session.user.str(), "done",
                                        "{\"session\":\"" + std::to_string(session.id) + "\",\"vm\":\"" +
                                            session.vm_name.str() + "\"}"});
    }));
    call.done({{"id", std::to_string(session.id)}, {"vm", session.vm_name.str()}},
              "told " + session.vm_name.str() + " to end session " + std::to_string(session.id));
    return {};
}

} // namespace

std::span<const Command> session_commands() {
    static const std::vector<Command> table = {
        {"sessions ls",
         "[--user U] [--vm V] [--all]",
         "live sessions on VMs; your own, or all for auditors",
         Role::kUser,
         Freshness::kNone,
         0,
         0,
         {{"--user"}, {"--vm"}, {"--all", false}},
         ls},
        {"sessions end",
         "ID [--reason R]",
         "end one session; your own, or any for admins",
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
