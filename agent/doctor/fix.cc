// SPDX-License-Identifier: Apache-2.0
#include "agent/doctor/fix.h"

#include <algorithm>

#include "agent/doctor/fix_pam.h"
#include "agent/doctor/fix_sshd.h"

namespace latchkey::agent::doctor {
namespace {

// Owner root, nobody else writes; of the identity key nobody else reads.
void fix_mode(Machine& machine, std::string_view id, const std::string& path, mode_t taken_away, mode_t given,
              std::vector<Deed>& deeds) {
    const auto facts = machine.look(path);
    if (!facts || facts->kind == FileKind::kLink) return;
    const mode_t mode = (facts->mode & ~taken_away) | given;
    if (facts->owner == 0 && mode == facts->mode) return;
    const Status status = machine.set_owner_and_mode(path, 0, 0, mode);
    deeds.push_back({id, status.has_value(),
                     status ? path + " is root's, and nobody else may write to it" : status.error().line()});
}

bool wants(const Findings& findings, std::string_view id) {
    return std::any_of(findings.begin(), findings.end(),
                       [&](const Finding& one) { return one.id == id && one.can_fix; });
}

void fix_modes(const Look& look, const Findings& findings, std::vector<Deed>& deeds) {
    Machine& machine = look.machine;
    const std::string state = look.config.state_dir.string();
    if (wants(findings, "state-files")) {
        fix_mode(machine, "state-files", state, 022, 0, deeds);
        for (const std::string& path : machine.glob(state + "/*"))
            fix_mode(machine, "state-files", path, 022, 0, deeds);
    }
    if (wants(findings, "identity")) fix_mode(machine, "identity", state + "/identity", 077, 0, deeds);
    if (wants(findings, "helper-path")) {
        const std::string helper(kHelperPath);
        fix_mode(machine, "helper-path", helper.substr(0, helper.rfind('/')), 022, 0, deeds);
        fix_mode(machine, "helper-path", helper, 022, 0555, deeds);
    }
    if (wants(findings, "pam-module")) {
        for (const std::string& path : machine.glob("/usr/lib/*/security/pam_latchkey.so"))
            fix_mode(machine, "pam-module", path, 022, 0, deeds);
    }
}

// What a run that was killed left unpaid.
void pay(const Look& look, std::vector<Deed>& deeds) {
    if (Owed(look.machine, "restart-agent").is_due()) {
        const Status status = restart_agent(look);
        deeds.push_back(
            {"keys-command-user", status.has_value(),
             status ? "the agent was restarted, as an earlier run would have" : status.error().line()});
    }
    if (Owed(look.machine, "reload-sshd").is_due()) {
        const Status status = reload_sshd(look);
        deeds.push_back({"keys-command", status.has_value(),
                         status ? "sshd was reloaded, as an earlier run would have" : status.error().line()});
    }
}

} // namespace

std::vector<Deed> fix(Machine& machine, const std::string& config_file) {
    std::vector<Deed> deeds;
    if (!machine.is_root()) {
        deeds.push_back({"agent-config", false, "nothing was mended: run it as root"});
        return deeds;
    }
    const Look look = look_around(machine, config_file);
    if (!look.config_status) {
        deeds.push_back({"agent-config", false, "nothing was mended: " + look.config_status.error().line()});
        return deeds;
    }
    pay(look, deeds);
    const Findings findings = examine(look);
    fix_modes(look, findings, deeds);
    fix_sshd(look, findings, deeds);
    fix_pam(look, findings, deeds);
    return deeds;
}

} // namespace latchkey::agent::doctor
