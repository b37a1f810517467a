// SPDX-License-Identifier: Apache-2.0
#include "agent/doctor/checks.h"

#include <algorithm>
#include <set>

#include "agent/doctor/sshd_files.h"

namespace latchkey::agent::doctor {
namespace {

constexpr std::size_t kMostLoginsAsked = 16; // each costs one run of sshd
constexpr std::string_view kMadeUpLogin = "latchkey-doctor";

std::vector<Login> managed_logins(const Look& look) {
    std::set<Login> all(look.config.managed_logins.begin(), look.config.managed_logins.end());
    if (const auto listed = look.state.load_managed_logins()) all.insert(listed->begin(), listed->end());
    if (look.agent) all.insert(look.agent->managed_logins.begin(), look.agent->managed_logins.end());
    for (const Login& login : look.config.local_logins) all.erase(login);
    return {all.begin(), all.end()};
}

} // namespace

const SshdSettings* Look::settings() const {
    for (const auto& [login, answer] : asked) {
        if (answer) return &*answer;
    }
    return nullptr;
}

Look look_around(Machine& machine, const std::string& config_file) {
    auto text = machine.read(config_file);
    auto config = text ? parse_config(*text, config_file) : Result<AgentConfig>(AgentConfig{});
    Status status;
    if (!text && text.error().code != Code::kNotFound) status = fail(text.error());
    if (!config) status = fail(config.error());
    AgentConfig held = config ? *config : AgentConfig{};
    const StateFolder state(held.state_dir, std::filesystem::path(held.socket).parent_path());
    Sshd sshd = find_sshd(machine);
    auto files = read_sshd_files(machine, sshd.main_config());
    Look look{machine,
              config_file,
              status,
              held,
              state,
              state.load_pin(),
              machine.ask_agent(held.socket),
              {},
              {},
              std::move(sshd),
              std::move(files),
              {}};
    if (look.pin) look.greeting = greet_broker(machine, state, *look.pin);
    look.managed = managed_logins(look);
    for (const Login& login : look.managed) {
        if (look.asked.size() < kMostLoginsAsked)
            look.asked.emplace_back(login.str(), ask_sshd(machine, look.sshd, login.str()));
    }
    if (look.asked.empty())
        look.asked.emplace_back(kMadeUpLogin, ask_sshd(machine, look.sshd, std::string(kMadeUpLogin)));
    return look;
}

const std::vector<NamedCheck>& checks() {
    static const std::vector<NamedCheck> all = {
        {"agent-config", "agent.toml parses", check_agent_config},
        {"joined", "this VM belongs to a broker", check_joined},
        {"agent-running", "the agent answers on its socket, serves, and has no trouble", check_agent_running},
        {"agent-version", "the agent that runs is the one that is installed", check_agent_version},
        {"helper-user", "the account that runs the helper", check_helper_user},
        {"state-files", "the state folder's files: whole, owned by root, closed to others",
         check_state_files},
        {"identity", "this VM's key, and who may read it", check_identity},
        {"broker-reach", "the broker's name, port and TLS", check_broker_reach},
        {"broker-pin", "the broker shows the key that this VM is pinned to", check_broker_pin},
        {"clock", "this VM's clock against the broker's", check_clock},
        {"sshd-config", "sshd accepts its configuration", check_sshd_config},
        {"sshd-include", "sshd_config includes our drop-in", check_sshd_include},
        {"sshd-options", "units, SSHD_OPTS and the running sshd set nothing over our heads",
         check_sshd_options},
        {"dropin-order", "no file that sshd reads earlier sets what ours sets", check_dropin_order},
        {"keys-command", "sshd asks our helper for managed logins", check_keys_command},
        {"keys-command-user", "sshd runs the helper as the user that the agent answers",
         check_keys_command_user},
        {"principals-order", "AuthorizedPrincipalsCommand stands above AuthorizedKeysCommand",
         check_principals_order},
        {"match-blocks", "no Match block sets what ours sets", check_match_blocks},
        {"helper-path", "sshd accepts owners and modes of the helper and its folders", check_helper_path},
        {"trusted-ca", "no TrustedUserCAKeys lets people in past Latchkey", check_trusted_ca},
        {"authorized-keys-file", "keys that accounts keep themselves", check_authorized_keys_file},
        {"revoked-keys", "the RevokedKeys file is there and not empty", check_revoked_keys},
        {"managed-root", "root is not a managed login", check_managed_root},
        {"penalties", "sshd's penalties per source address", check_penalties},
        {"max-startups", "room for bursts of logins", check_max_startups},
        {"use-pam", "sshd asks PAM", check_use_pam},
        {"pam-module", "the PAM module is installed, and only root may change it", check_pam_module},
        {"pam-account", "our account line in sshd's PAM service", check_pam_account},
        {"pam-session", "our session line in sshd's PAM service, after pam_systemd", check_pam_session},
        {"pam-sudo", "our line in sudo's PAM service", check_pam_sudo},
        {"logind", "systemd-logind, which ends sessions whole", check_logind},
        {"generated-sockets", "ways to sshd without an address", check_generated_sockets},
        {"confinement", "SELinux and AppArmor", check_confinement},
    };
    return all;
}

Findings examine(const Look& look) {
    Findings findings;
    for (const NamedCheck& check : checks()) {
        Report report(check.id, findings);
        check.check(look, report);
    }
    return findings;
}

bool is_our_helper(std::string_view command) {
    const Words words = words_of(command);
    return !words.empty() && words.front().substr(words.front().rfind('/') + 1) == kHelperName;
}

bool is_none(std::string_view value) {
    return value.empty() || lower(value) == "none";
}

std::string chained_command(std::string_view command) {
    static constexpr std::string_view mark = " --then ";
    const std::size_t at = command.find(mark);
    return at == std::string_view::npos ? std::string() : std::string(command.substr(at + mark.size()));
}

} // namespace latchkey::agent::doctor
