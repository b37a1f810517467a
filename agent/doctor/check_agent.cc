// SPDX-License-Identifier: Apache-2.0
// The agent itself: configuration, state, the running program.
#include "agent/doctor/checks.h"
#include "agent/version.h"

namespace latchkey::agent::doctor {
namespace {

constexpr mode_t kWritableByOthers = 022;

bool is_missing(const Error& error) {
    return error.code == Code::kNotFound;
}

std::string mode_text(mode_t mode) {
    std::string text(4, '0');
    for (std::size_t i = 0; i < 4; ++i) text[3 - i] = static_cast<char>('0' + ((mode >> (3 * i)) & 7));
    return text;
}

// What reading a state file says, beyond that it is not there.
template <class T>
void report_damage(const Look& look, const Result<T>& loaded, Report& report) {
    if (loaded || is_missing(loaded.error())) return;
    if (!look.is_root()) return; // a file that we may not read is no damaged one
    const std::string& next = loaded.error().next;
    report.problem(loaded.error().message, "the agent denies managed logins until it is mended",
                   next.empty() ? "see docs/state-files.md; in the end: latchkey-agent join <token>" : next);
}

} // namespace

void check_agent_config(const Look& look, Report& report) {
    if (look.config_status) return report.ok(look.config_file + " parses");
    const Error& error = look.config_status.error();
    if (error.code == Code::kRefused)
        return report.unseen(look.config_file + " was not read", error.message, "run it as root");
    report.problem(error.message, "the agent does not start with it",
                   "mend that line, then: systemctl restart latchkey-agent");
}

void check_joined(const Look& look, Report& report) {
    if (look.pin)
        return report.ok("this VM is " + look.pin->vm_name.str() + " of " + look.pin->broker.text());
    const Error& error = look.pin.error();
    if (is_missing(error)) {
        return report.problem("this VM has not joined a broker", "nobody can be granted a login here",
                              "as root: latchkey-agent join <token>");
    }
    if (!look.is_root()) return report.unseen("whom this VM belongs to", error.message, "run it as root");
    report.problem(error.message, "the agent does not know its broker", error.next);
}

void check_agent_running(const Look& look, Report& report) {
    if (!look.agent) {
        const Error& error = look.agent.error();
        if (!look.is_root())
            return report.unseen("whether the agent is well", error.message, "run it as root");
        return report.problem("no agent answers on " + look.config.socket + ": " + error.message,
                              "managed logins are denied; local ones are not touched",
                              "systemctl start latchkey-agent; if it ends: journalctl -u latchkey-agent");
    }
    if (!look.agent->trouble.empty()) {
        report.problem("the agent is in trouble: " + look.agent->trouble,
                       "some or all managed logins are denied", "see: journalctl -u latchkey-agent");
    }
    if (!look.agent->serving) {
        report.problem("the agent does not serve: no broker for longer than the lease allows",
                       "managed logins are denied until the broker is heard again", "see broker-reach");
    } else if (!look.agent->connected) {
        report.warning("the agent has no broker at the moment",
                       "logins that it holds no grant for are denied; what it holds is served for a while",
                       "see broker-reach");
    }
    if (!report.said_anything()) report.ok("the agent answers and serves");
}

void check_agent_version(const Look& look, Report& report) {
    if (!look.agent) return report.unseen("the running agent's version", "no agent answered");
    if (look.agent->version != kAgentVersion) {
        return report.warning(
            "agent " + look.agent->version + " runs, " + std::string(kAgentVersion) + " is installed",
            "what the newer one mends is not in effect",
            "systemctl restart latchkey-agent (open sessions stay)");
    }
    for (const ProcessSeen& process : look.machine.processes()) {
        if (process.program.ends_with("/latchkey-agent (deleted)")) {
            return report.warning("the running agent's program file was replaced",
                                  "the one that is installed does not run yet",
                                  "systemctl restart latchkey-agent (open sessions stay)");
        }
    }
    report.ok("version " + look.agent->version + " runs");
}

void check_helper_user(const Look& look, Report& report) {
    const auto user = look.machine.user_id(look.config.helper_user);
    if (!user) {
        return report.problem("there is no account " + look.config.helper_user,
                              "sshd refuses the AuthorizedKeysCommand: managed logins are denied",
                              "systemd-sysusers, or: useradd --system --no-create-home --shell "
                              "/usr/sbin/nologin " +
                                  look.config.helper_user);
    }
    if (*user == 0) {
        return report.warning("the helper runs as root", "a fault in it, or in what is chained, is root's",
                              "give it an account of its own, unless a chained command needs root");
    }
    report.ok("the helper runs as " + look.config.helper_user);
}

void check_state_files(const Look& look, Report& report) {
    const std::string folder = look.config.state_dir.string();
    const auto facts = look.machine.look(folder);
    if (!facts) {
        if (is_missing(facts.error())) return report.ok(folder + " is not there yet: this VM never joined");
        return report.unseen(folder, facts.error().message, "run it as root");
    }
    std::vector<std::string> paths = look.machine.glob(folder + "/*");
    paths.insert(paths.begin(), folder);
    for (const std::string& path : paths) {
        const auto found = look.machine.look(path);
        if (!found) continue; // replaced in this moment
        if (found->owner != 0) {
            report.problem(path + " belongs to " + look.machine.user_name(found->owner),
                           "who owns it can change what the agent trusts", "chown root:root " + path);
            report.can_fix();
        } else if (found->kind != FileKind::kLink && (found->mode & kWritableByOthers) != 0) {
            report.problem(path + " has mode " + mode_text(found->mode) + ": others may write to it",
                           "others can change what the agent trusts", "chmod go-w " + path);
            report.can_fix();
        }
    }
    report_damage(look, look.pin, report);
    report_damage(look, look.state.load_trust(), report);
    report_damage(look, look.state.load_revocations(), report);
    report_damage(look, look.state.load_sessions(), report);
    const auto listed = look.state.load_managed_logins();
    report_damage(look, listed, report);
    if (!listed && is_missing(listed.error())) {
        report.problem(folder + "/managed-logins is missing",
                       "while no agent runs, PAM denies every login by sshd, break-glass too",
                       "systemctl restart latchkey-agent: it writes the list");
    }
    if (report.said_anything()) return;
    if (!look.is_root()) return report.unseen("what is in " + folder, "only root reads it", "run it as root");
    report.ok(std::to_string(paths.size() - 1) + " files in " + folder + " are whole");
}

void check_identity(const Look& look, Report& report) {
    const auto identity = look.state.load_identity();
    if (identity) return report.ok("key " + identity->public_key().fingerprint().str());
    const Error& error = identity.error();
    if (is_missing(error) && !look.pin) return report.ok("no key yet: this VM has not joined");
    if (!look.is_root()) return report.unseen("this VM's key", "only root reads it", "run it as root");
    report.problem(error.message, "the agent cannot prove to the broker who it is", error.next);
    if (error.code == Code::kRefused) report.can_fix();
}

} // namespace latchkey::agent::doctor
