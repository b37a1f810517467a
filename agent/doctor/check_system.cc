// SPDX-License-Identifier: Apache-2.0
// What the system around us brings: logind, sockets that systemd made, mandatory access control.
#include "agent/doctor/checks.h"
#include "agent/doctor/pam_stack.h"

namespace latchkey::agent::doctor {
namespace {

constexpr Micros kSystemctlTime = from_seconds(5);

std::string unit_state(Machine& machine, const std::string& unit) {
    const auto ran = machine.run({"systemctl", "is-active", unit}, kSystemctlTime);
    const auto lines = ran ? lines_of(ran->out) : std::vector<std::string>();
    return lines.empty() ? "unknown" : lines.front();
}

bool runs_systemd(Machine& machine) {
    return machine.look("/run/systemd/system").has_value();
}

} // namespace

void check_logind(const Look& look, Report& report) {
    if (look.config.logind == LogindUse::kOff) {
        return report.warning("agent.toml says logind = \"off\"",
                              "what daemonises away from a session is found by its audit id only",
                              "set logind = \"auto\" where systemd-logind runs");
    }
    if (!runs_systemd(look.machine)) {
        return report.warning("systemd does not run here",
                              "sessions end by their process tree; nohup children of root may stay",
                              "nothing, in a container");
    }
    const std::string state = unit_state(look.machine, "systemd-logind.service");
    if (state != "active") {
        return report.problem("systemd-logind is " + state,
                              "sessions have no scope: PAM denies managed logins, or ends them in part",
                              "systemctl enable --now systemd-logind (package libpam-systemd)");
    }
    const auto stack = read_pam_service(look.machine, "sshd");
    if (stack) {
        bool asks = false;
        for (const PamLine& line : of_type(*stack, "session")) asks = asks || line.module == "pam_systemd.so";
        if (!asks) {
            return report.problem("sshd's sessions are unknown to logind: pam_systemd.so is not in its stack",
                                  "sessions have no scope: managed logins are denied",
                                  "apt-get install libpam-systemd");
        }
    }
    report.ok("systemd-logind runs, and sshd's sessions are known to it");
}

void check_generated_sockets(const Look& look, Report& report) {
    for (const std::string socket : {"sshd-unix-local.socket", "sshd-vsock.socket"}) {
        if (!look.machine.look("/run/systemd/generator/" + socket)) continue;
        const std::string state = unit_state(look.machine, socket);
        if (state != "active") continue;
        report.warning("systemd opened a second way to sshd: " + socket,
                       "it has no client address: from=, Match Address and bastion rules do not apply to it",
                       "systemctl mask --now " + socket + ", if nobody uses it");
    }
    if (!report.said_anything()) report.ok("there is no way to sshd without an address");
}

void check_confinement(const Look& look, Report& report) {
    const auto enforce = look.machine.read("/sys/fs/selinux/enforce");
    if (enforce && enforce->starts_with("1")) {
        report.warning(
            "SELinux enforces its policy",
            "the stock policy lets sshd run no program that connects to the agent's socket, unless "
            "it was told so; denials look like refused keys",
            "after a login that was refused: ausearch -m avc -c latchkey-author");
    }
    const auto profiles = look.machine.read("/sys/kernel/security/apparmor/profiles");
    if (profiles) {
        for (const std::string& line : lines_of(*profiles)) {
            const bool concerns =
                line.find("sshd") != std::string::npos || line.find("latchkey") != std::string::npos;
            if (!concerns || line.find("(enforce)") == std::string::npos) continue;
            report.warning(
                "AppArmor confines " + line.substr(0, line.find(' ')),
                "the helper runs under it: what the profile forbids looks like a refused key",
                "let the profile run " + std::string(kHelperPath) + " and connect to " + look.config.socket);
        }
    } else if (profiles.error().code != Code::kNotFound && !report.said_anything()) {
        return report.unseen("AppArmor's profiles", profiles.error().message, "run it as root");
    }
    if (!report.said_anything()) report.ok("neither SELinux nor AppArmor confines sshd");
}

} // namespace latchkey::agent::doctor
