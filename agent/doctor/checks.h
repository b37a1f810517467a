// SPDX-License-Identifier: Apache-2.0
#pragma once
// The checks. Each looks at the machine through Look, changes nothing, and says at least one finding of its
// id. Look holds what several checks want, asked for once. One thread.

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "agent/config/agent_config.h"
#include "agent/doctor/finding.h"
#include "agent/doctor/sshd_view.h"

namespace latchkey::agent::doctor {

inline constexpr std::string_view kHelperName = "latchkey-authorized-keys";
inline constexpr std::string_view kHelperPath = "/usr/libexec/latchkey/latchkey-authorized-keys";

struct Look {
    Machine& machine;
    std::string config_file;
    Status config_status; // of reading agent.toml; the defaults stand in for it
    AgentConfig config;
    StateFolder state;
    Result<BrokerPin> pin;
    Result<protocol::AgentStatusAnswer> agent;
    std::vector<Login> managed; // as far as we can know them, without the local ones
    Status greeting;            // of the broker; without a pin there is none
    Sshd sshd;
    Result<SshdFiles> files;
    // What sshd says for these logins: the managed ones (up to a number), and a made-up one where there are
    // none.
    std::vector<std::pair<std::string, Result<SshdSettings>>> asked;

    bool is_root() const { return machine.is_root(); }
    // The first answer that sshd gave: for what holds for all connections. nullptr: it gave none.
    const SshdSettings* settings() const;
};

Look look_around(Machine& machine, const std::string& config_file);

// The broker's addresses in turn, until one is no silence; else the last failure.
Status greet_broker(Machine& machine, const StateFolder& state, const BrokerPin& pin);

using Check = void (*)(const Look& look, Report& report);
struct NamedCheck {
    std::string_view id;
    std::string_view looks_at; // as docs/doctor.md says it
    Check check;
};
const std::vector<NamedCheck>& checks();
Findings examine(const Look& look);

// The command that sshd runs, in words. Ours: the helper, whatever its folder.
bool is_our_helper(std::string_view command);
// What sshd takes for "no command": nothing, or the word none.
bool is_none(std::string_view value);
// What stands behind --then; empty: nothing is chained.
std::string chained_command(std::string_view command);

void check_agent_config(const Look& look, Report& report);
void check_joined(const Look& look, Report& report);
void check_agent_running(const Look& look, Report& report);
void check_agent_version(const Look& look, Report& report);
void check_helper_user(const Look& look, Report& report);
void check_state_files(const Look& look, Report& report);
void check_identity(const Look& look, Report& report);
void check_broker_reach(const Look& look, Report& report);
void check_broker_pin(const Look& look, Report& report);
void check_clock(const Look& look, Report& report);
void check_sshd_config(const Look& look, Report& report);
void check_sshd_include(const Look& look, Report& report);
void check_sshd_options(const Look& look, Report& report);
void check_dropin_order(const Look& look, Report& report);
void check_keys_command(const Look& look, Report& report);
void check_keys_command_user(const Look& look, Report& report);
void check_principals_order(const Look& look, Report& report);
void check_match_blocks(const Look& look, Report& report);
void check_helper_path(const Look& look, Report& report);
void check_trusted_ca(const Look& look, Report& report);
void check_authorized_keys_file(const Look& look, Report& report);
void check_revoked_keys(const Look& look, Report& report);
void check_managed_root(const Look& look, Report& report);
void check_penalties(const Look& look, Report& report);
void check_max_startups(const Look& look, Report& report);
void check_use_pam(const Look& look, Report& report);
void check_pam_module(const Look& look, Report& report);
void check_pam_account(const Look& look, Report& report);
void check_pam_session(const Look& look, Report& report);
void check_pam_sudo(const Look& look, Report& report);
void check_logind(const Look& look, Report& report);
void check_generated_sockets(const Look& look, Report& report);
void check_confinement(const Look& look, Report& report);

} // namespace latchkey::agent::doctor
