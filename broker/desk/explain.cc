// SPDX-License-Identifier: Apache-2.0
// explain U LOGIN V: why it would be allowed or denied, the VM's own view included.
#include "broker/desk/command.h"
#include "broker/desk/text.h"
#include "broker/ledger/revocations.h"
#include "broker/ledger/vms.h"

namespace latchkey::desk {
namespace {

using ledger::Role;

struct View {
    ledger::Vm vm;
    Epoch epoch;
};

Status explain(Call& call) {
    LK_TRY(user, UserName::parse(call.arguments.at(0)));
    LK_TRY(login, Login::parse(call.arguments.at(1)));
    LK_TRY(vm_name, VmName::parse(call.arguments.at(2)));
    if (user != call.user.name) LK_CHECK(call.require(Role::kAuditor, "another user's access"));
    LK_TRY(judged, call.context.issuer.explain(user, login, vm_name));
    LK_TRY(view, call.read([&](ledger::Transaction& t) -> Result<View> {
        LK_TRY(vm, find_vm_named(t, vm_name.str()));
        LK_TRY(epoch, ledger::current_epoch(t));
        return View{std::move(vm), epoch};
    }));
    const ledger::Vm& vm = view.vm;
    const Micros now = call.now();
    const bool is_connected = call.context.fleet.is_connected(vm.id);
    const std::int64_t offset_ms = vm.clock_offset_micros / 1000;
    if (call.arguments.wants_json()) {
        call.object({{"user", user.str()},
                     {"login", login.str()},
                     {"vm", vm.name.str()},
                     {"allowed", judged.is_allowed},
                     {"checks", judged.checks},
                     {"vm_connected", is_connected},
                     {"vm_last_seen", vm.last_seen},
                     {"vm_epoch", count(vm.confirmed_epoch.value)},
                     {"broker_epoch", count(view.epoch.value)},
                     {"vm_clock_offset_ms", offset_ms},
                     {"vm_trouble", text_or_null(vm.trouble)}});
        return {};
    }
    // The verdict is the last check: the VM's view goes before it.
    std::string text;
    for (std::size_t i = 0; i + 1 < judged.checks.size(); ++i) text += printable(judged.checks[i]) + "\n";
    text += "vm: " + vm.name.str() + (is_connected ? " is connected" : " is not connected") + ", last seen " +
            ago_text(vm.last_seen, now) + ", revocations up to " + std::to_string(vm.confirmed_epoch.value) +
            " of " + std::to_string(view.epoch.value) + ", clock off by " + std::to_string(offset_ms) + " ms";
    if (!vm.trouble.empty()) text += ", trouble: " + printable(vm.trouble);
    text += "\n";
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
         Freshness::kNone,
         3,
         3,
         {},
         explain},
    };
    return table;
}

} // namespace latchkey::desk
