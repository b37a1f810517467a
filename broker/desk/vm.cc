// SPDX-License-Identifier: Apache-2.0
// vm ls | show | set | token | keys | rm
#include <algorithm>
#include <cstdlib>

#include "broker/desk/command.h"
#include "broker/desk/text.h"
#include "broker/ledger/policy_rows.h"
#include "broker/ledger/revocations.h"
#include "broker/ledger/vm_reports.h"
#include "broker/ledger/vms.h"
#include "broker/policy/policy.h"
#include "core/protocol/join_token.h"

namespace latchkey::desk {
namespace {

using ledger::Role;

constexpr Micros kDefaultTokenSpan = from_seconds(3600);
constexpr Micros kLongestGrace = from_seconds(30 * 24 * 3600);
constexpr std::uint32_t kReportsShown = 10;
constexpr std::uint64_t kMaxUses = 100000;
constexpr Micros kClockTolerance = from_seconds(30);

std::vector<std::string> label_texts(const std::vector<protocol::KeyValue>& labels) {
    std::vector<std::string> texts;
    texts.reserve(labels.size());
    for (const protocol::KeyValue& label : labels) texts.push_back(label.name + "=" + label.value);
    return texts;
}

// As an SSH public key line: what its receipts are verified with.
std::string key_line(const ledger::Vm& vm) {
    const auto key = ledger::public_key_of(vm.key);
    return key ? key->line() : std::string();
}

// What the VM says of itself, and what we see of its clock (above 30 s it is reported).
std::string trouble_of(const ledger::Vm& vm) {
    const std::int64_t seconds = std::abs(vm.clock_offset_micros) / 1'000'000;
    if (seconds <= kClockTolerance.seconds()) return vm.trouble;
    const std::string clock = "its clock is " + std::to_string(seconds) + " s off";
    return vm.trouble.empty() ? clock : vm.trouble + "; " + clock;
}

struct Seen {
    std::vector<ledger::Vm> vms;
    std::vector<ledger::Rule> rules; // the caller's
    Epoch epoch;
};

Result<Seen> look(const Call& call) {
    return call.read([&](ledger::Transaction& t) -> Result<Seen> {
        Seen seen;
        LK_TRY(vms, ledger::list_vms(t));
        seen.vms = std::move(vms);
        LK_TRY(rules, ledger::rules_for_user(t, call.user.id));
        seen.rules = std::move(rules);
        LK_TRY(epoch, ledger::current_epoch(t));
        seen.epoch = epoch;
        return seen;
    });
}

Record row_of(const Call& call, const Seen& seen, const ledger::Vm& vm) {
    const bool is_connected = call.context.fleet.is_connected(vm.id);
    const bool is_level = vm.confirmed_epoch >= seen.epoch;
    return {
        {"name", vm.name.str()},
        {"connected", is_connected},
        {"last_seen", vm.last_seen},
        {"your_logins", login_texts(policy::managed_logins(seen.rules, vm))},
        {"labels", label_texts(vm.labels)},
        {"up_to_date", is_level, Shown::kJsonOnly},
        {"trouble", text_or_null(trouble_of(vm))},
    };
}

Status ls(Call& call) {
    LK_TRY(seen, look(call));
    std::vector<Record> rows;
    for (const ledger::Vm& vm : seen.vms) {
        if (may_see(call, seen.rules, vm)) rows.push_back(row_of(call, seen, vm));
    }
    call.list("vms", rows,
              call.is_at_least(Role::kAuditor) ? "no VMs; an admin adds one with: vm token"
                                               : "no VMs that you may log in to; ask an admin for a group");
    return {};
}

std::vector<std::string> report_texts(const std::vector<ledger::VmReport>& reports) {
    std::vector<std::string> texts;
    texts.reserve(reports.size());
    for (const ledger::VmReport& report : reports)
        texts.push_back(time_rfc3339(report.made_at) + " " + report.kind + ": " + report.text);
    return texts;
}

// Known of a connected VM alone.
Value asks_about_sudo(const Call& call, const ledger::Vm& vm) {
    if (!call.context.fleet.is_connected(vm.id)) return {};
    return call.context.fleet.has_step_up(vm.id);
}

Status show(Call& call) {
    LK_TRY(seen, look(call));
    LK_TRY(name, VmName::parse(call.arguments.at(0)));
    const auto found = std::find_if(seen.vms.begin(), seen.vms.end(), [&](const ledger::Vm& vm) {
        return vm.name == name && may_see(call, seen.rules, vm);
    });
    if (found == seen.vms.end()) return fail(Code::kNotFound, "no VM " + name.str(), "see: vm ls");
    const ledger::Vm& vm = *found;
    Record record = row_of(call, seen, vm);
    if (call.is_at_least(Role::kAuditor)) {
        LK_TRY(reports, call.read([&](ledger::Transaction& t) {
            return ledger::reports_of(t, vm.id, kReportsShown);
        }));
        const Record more{
            {"id", std::to_string(vm.id.value)},
            {"key", key_line(vm)},
            {"joined_at", vm.joined_at},
            {"software", text_or_null(vm.software)},
            {"asks_about_sudo", asks_about_sudo(call, vm)},
            {"confirmed_epoch", count(vm.confirmed_epoch.value)},
            {"broker_epoch", count(seen.epoch.value)},
            {"clock_offset_ms", vm.clock_offset_micros / 1000},
            {"offline_grace_seconds", count(vm.offline_grace_seconds)},
            {"reports", report_texts(reports)},
        };
        record.insert(record.end(), more.begin(), more.end());
    }
    call.object(record);
    return {};
}

Result<std::vector<protocol::KeyValue>> parse_labels(const std::vector<std::string>& texts) {
    std::vector<protocol::KeyValue> labels;
    for (const std::string& text : texts) {
        const std::size_t equals = text.find('=');
        if (equals == std::string::npos || equals == 0 || equals + 1 == text.size()) {
            return fail(Code::kUsage, "--label wants name=value");
        }
        LK_CHECK(check_free_text(text, "--label", 128));
        labels.push_back({text.substr(0, equals), text.substr(equals + 1)});
    }
    return labels;
}

Status token(Call& call) {
    const Arguments& arguments = call.arguments;
    LK_TRY(labels, parse_labels(arguments.all("--label")));
    LK_TRY(uses, parse_number(arguments.one("--uses").value_or("1"), "--uses"));
    if (uses == 0 || uses > kMaxUses) return fail(Code::kUsage, "--uses is 1 to 100000");
    Micros span = kDefaultTokenSpan;
    if (const auto text = arguments.one("--for")) {
        LK_TRY(parsed, parse_span(*text, "--for"));
        span = parsed;
    }
    const std::string pattern = arguments.one("--name").value_or("*");
    LK_CHECK(check_free_text(pattern, "--name", 128));
    const Settings& settings = call.context.settings;
    LK_TRY(address, protocol::BrokerAddress::parse(settings.hub_address));
    const Micros ends_at = call.now() + span;
    LK_TRY(fresh, call.write([&](ledger::Transaction& t) {
        return ledger::add_join_token(t, static_cast<std::uint32_t>(uses), ends_at, pattern, labels,
                                      call.actor());
    }));
    protocol::JoinToken made;
    made.broker = address;
    made.broker_key = settings.broker_key;
    made.id = fresh.id;
    made.secret = std::move(fresh.secret);
    LK_TRY(line, made.encode());
    if (arguments.wants_json()) {
        call.object({{"token", line}, {"id", made.id}, {"uses", count(uses)}, {"ends_at", ends_at}});
        return {};
    }
    // The token alone on stdout, for a script; what to do with it beside.
    call.console.out(line + "\n");
    call.console.err("good for " + std::to_string(uses) + (uses == 1 ? " VM" : " VMs") + " until " +
                     until_text(ends_at, call.now()) + "; on the VM run: latchkey-agent join TOKEN\n");
    return {};
}

// "0", or a span.
Result<std::uint32_t> parse_grace(const std::string& text) {
    if (text == "0") return 0U;
    LK_TRY(span, parse_span(text, "--offline-grace"));
    if (span > kLongestGrace)
        return fail(Code::kUsage, "--offline-grace is 30 days at most", "0 means: never without a broker");
    return static_cast<std::uint32_t>(span.seconds());
}

Status set(Call& call) {
    const auto text = call.arguments.one("--offline-grace");
    if (!text) return fail(Code::kUsage, "nothing to set", "give --offline-grace 1h, or 0");
    LK_TRY(seconds, parse_grace(*text));
    LK_TRY(name, call.write([&](ledger::Transaction& t) -> Result<VmName> {
        LK_TRY(found, find_vm_named(t, call.arguments.at(0)));
        LK_CHECK(ledger::set_offline_grace(t, found.name, seconds, call.actor()));
        return found.name;
    }));
    call.done({{"vm", name.str()}, {"offline_grace_seconds", count(seconds)}},
              seconds == 0 ? "VM " + name.str() + " lets nobody in while no broker is there"
                           : "VM " + name.str() + " serves held grants for " +
                                 span_text(from_seconds(seconds)) + " without a broker");
    return {};
}

// The lines of a file that `latchkey receipt verify --known` reads.
Status keys(Call& call) {
    LK_TRY(vms, call.read([](ledger::Transaction& t) { return ledger::list_vms(t); }));
    std::vector<Record> rows;
    std::string lines;
    for (const ledger::Vm& vm : vms) {
        rows.push_back({{"vm", vm.name.str()}, {"id", std::to_string(vm.id.value)}, {"key", key_line(vm)}});
        lines += vm.name.str() + " " + key_line(vm) + "\n";
    }
    call.console.out(call.arguments.wants_json() ? list_json("keys", rows) : lines);
    return {};
}

// Its connection is closed once it has answered, and what it held is revoked: it may hold grants.
Status rm(Call& call) {
    LK_TRY(row, call.write([&](ledger::Transaction& t) -> Result<ledger::RevocationRow> {
        LK_TRY(name, VmName::parse(call.arguments.at(0)));
        LK_TRY(vm, ledger::find_vm(t, name));
        if (!vm) LK_CHECK(ledger::remove_vm(t, name, call.actor())); // not there, or its row is damaged
        return ledger::revoke(t, {revocation::SelectorKind::kVm, name.str()}, "VM removed", call.actor());
    }));
    const std::string& vm = row.revocation.selector.text;
    const Epoch epoch = row.revocation.epoch;
    call.done({{"vm", vm}, {"state", std::string("removed")}, {"epoch", count(epoch.value)}},
              "removed VM " + vm +
                  "; its agent is not served any more and ends its sessions, see: revoke show " +
                  std::to_string(epoch.value));
    return {};
}

} // namespace

bool may_see(const Call& call, const std::vector<ledger::Rule>& rules, const ledger::Vm& vm) {
    return call.is_at_least(Role::kAuditor) || !policy::managed_logins(rules, vm).empty();
}

std::span<const Command> vm_commands() {
    static const std::vector<Command> table = {
        {"vm ls",
         "",
         "the VMs that you may log in to; all of them for auditors",
         Role::kUser,
         Freshness::kAudit,
         0,
         0,
         {},
         ls},
        {"vm show", "V", "one VM", Role::kUser, Freshness::kAudit, 1, 1, {}, show},
        {"vm set",
         "V --offline-grace SPAN",
         "how long it serves held grants without a broker",
         Role::kAdmin,
         Freshness::kRecent,
         1,
         1,
         {{"--offline-grace"}},
         set},
        {"vm token",
         "[--label k=v]… [--uses N] [--for 1h] [--name PATTERN]",
         "a token by which VMs join",
         Role::kAdmin,
         Freshness::kRecent,
         0,
         0,
         {{"--label", true, true}, {"--uses"}, {"--for"}, {"--name"}},
         token},
        {"vm keys",
         "",
         "the keys that sign receipts, a line a VM, for: latchkey receipt verify --known",
         Role::kAuditor,
         Freshness::kUnlock,
         0,
         0,
         {},
         keys},
        {"vm rm",
         "V",
         "remove a VM and revoke what it holds",
         Role::kAdmin,
         Freshness::kRecent,
         1,
         1,
         {},
         rm},
    };
    return table;
}

} // namespace latchkey::desk
