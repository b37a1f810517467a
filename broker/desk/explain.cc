// SPDX-License-Identifier: Apache-2.0
// explain U LOGIN V: why it would be allowed or denied, the VM's own view included.
#include "broker/desk/command.h"
#include "broker/desk/text.h"
#include "broker/ledger/policy_rows.h"
#include "broker/ledger/revocations.h"
#include "broker/ledger/vms.h"

namespace latchkey::desk {
namespace {

using ledger::Role;

struct View {
    ledger::Vm vm;
    Epoch epoch;
    std::vector<ledger::SessionRow> sessions; // of this user as this login, live
    bool is_connected = false;

    // When the grants that it holds stop counting, should it stay away.
    Micros alone_until() const { return vm.last_seen + from_seconds(vm.offline_grace_seconds); }
};

Result<View> read_view(ledger::Transaction& t, const UserName& user, const Login& login, const VmName& name) {
    View view;
    LK_TRY(vm, find_vm_named(t, name.str()));
    view.vm = std::move(vm);
    LK_TRY(epoch, ledger::current_epoch(t));
    view.epoch = epoch;
    ledger::SessionFilter filter;
    filter.user = user;
    filter.vm = view.vm.name;
    filter.live_only = true;
    LK_TRY(sessions, ledger::list_sessions(t, filter));
    for (ledger::SessionRow& session : sessions) {
        if (session.login == login) view.sessions.push_back(std::move(session));
    }
    return view;
}

// The same answer for one that is not there and one that is none of theirs.
Status check_seen(const Call& call, ledger::Transaction& t, const VmName& name) {
    if (call.is_at_least(Role::kAuditor)) return {}; // the judgement itself says that there is none
    LK_TRY(vm, ledger::find_vm(t, name));
    LK_TRY(rules, ledger::rules_for_user(t, call.user.id));
    if (vm && vm->state == ledger::VmState::kActive && may_see(call, rules, *vm)) return {};
    return fail(Code::kNotFound, "no VM " + name.str() + " that you may log in to",
                "see: vm ls, or ask an admin for a group");
}

// What the VM itself goes by, as far as it has told us.
std::string text_of(const View& view, Micros now) {
    const ledger::Vm& vm = view.vm;
    std::string text = "vm: " + vm.name.str();
    text +=
        view.is_connected ? " is connected" : " is not connected, last seen " + ago_text(vm.last_seen, now);
    text += ", revocations up to " + std::to_string(vm.confirmed_epoch.value) + " of " +
            std::to_string(view.epoch.value) + ", clock off by " +
            std::to_string(vm.clock_offset_micros / 1000) + " ms";
    if (!vm.software.empty()) text += ", " + printable(vm.software);
    if (!vm.trouble.empty()) text += ", trouble: " + printable(vm.trouble);
    text += "\nlease: ";
    if (view.is_connected) {
        text += "the VM asks us; alone it would serve what it holds for " +
                span_text(from_seconds(vm.offline_grace_seconds));
    } else if (now < view.alone_until()) {
        text += "the VM serves what it holds until " + until_text(view.alone_until(), now) + ", nothing new";
    } else {
        text += "over since " + time_text(view.alone_until()) + ": the VM lets in local logins alone";
    }
    text += "\nsessions: " + std::to_string(view.sessions.size()) + " live";
    for (const ledger::SessionRow& session : view.sessions) {
        text += "; " + std::to_string(session.id) + " from " + printable(session.from) + ", " +
                ago_text(session.opened_at, now);
    }
    return text + "\n";
}

Status explain(Call& call) {
    LK_TRY(user, UserName::parse(call.arguments.at(0)));
    LK_TRY(login, Login::parse(call.arguments.at(1)));
    LK_TRY(vm_name, VmName::parse(call.arguments.at(2)));
    if (user != call.user.name) LK_CHECK(call.require(Role::kAuditor, "another user's access"));
    LK_CHECK(call.read([&](ledger::Transaction& t) { return check_seen(call, t, vm_name); }));
    LK_TRY(judged, call.context.issuer.explain(user, login, vm_name));
    LK_TRY(view, call.read([&](ledger::Transaction& t) { return read_view(t, user, login, vm_name); }));
    const ledger::Vm& vm = view.vm;
    view.is_connected = call.context.fleet.is_connected(vm.id);
    if (call.arguments.wants_json()) {
        std::vector<std::string> sessions;
        for (const ledger::SessionRow& session : view.sessions)
            sessions.push_back(std::to_string(session.id));
        call.object({{"user", user.str()},
                     {"login", login.str()},
                     {"vm", vm.name.str()},
                     {"allowed", judged.is_allowed},
                     {"checks", judged.checks},
                     {"vm_connected", view.is_connected},
                     {"vm_last_seen", vm.last_seen},
                     {"vm_epoch", count(vm.confirmed_epoch.value)},
                     {"broker_epoch", count(view.epoch.value)},
                     {"vm_clock_offset_ms", vm.clock_offset_micros / 1000},
                     {"vm_software", text_or_null(vm.software)},
                     {"vm_alone_until", view.alone_until()},
                     {"vm_sessions", sessions},
                     {"vm_trouble", text_or_null(vm.trouble)}});
        return {};
    }
    // The verdict is the last check: the VM's view goes before it.
    std::string text;
    for (std::size_t i = 0; i + 1 < judged.checks.size(); ++i) text += printable(judged.checks[i]) + "\n";
    text += text_of(view, call.now());
    text += judged.checks.empty() ? std::string(judged.is_allowed ? "allowed" : "denied")
                                  : printable(judged.checks.back());
    call.console.out(text + "\n");
    return {};
}

} // namespace

std::span<const Command> explain_commands() {
    static const std::vector<Command> table = {
        {"explain",
         "U LOGIN V",
         "why a login would be allowed or denied",
         Role::kUser,
         Freshness::kAudit,
         3,
         3,
         {},
         explain},
    };
    return table;
}

} // namespace latchkey::desk
