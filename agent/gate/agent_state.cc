// SPDX-License-Identifier: Apache-2.0
#include "agent/gate/agent_state.h"

namespace latchkey::agent {

std::string Troubles::line() const {
    std::string all;
    for (const std::string& line : lines_) {
        if (line.empty()) continue;
        if (!all.empty()) all += "; ";
        all += line;
    }
    return all;
}

Status AgentState::adopt(const protocol::TrustSet& fresh) {
    LK_TRY(keys, TrustedKeys::parse(fresh));
    const bool keys_changed = fresh.ca_keys != trust.ca_keys || fresh.ledger_keys != trust.ledger_keys;
    trust = fresh;
    trusted = std::move(keys);
    lease.set_grace(from_seconds(fresh.offline_grace_seconds));
    set_managed(fresh.managed_logins);
    if (keys_changed) grants.verify_again(judged());
    return {};
}

std::vector<Login> AgentState::gated() const {
    std::vector<Login> out;
    for (const Login& login : managed) {
        if (!is_local(login)) out.push_back(login);
    }
    return out;
}

void AgentState::set_managed(const std::vector<Login>& by_broker) {
    managed.clear();
    managed.insert(managed_by_config.begin(), managed_by_config.end());
    managed.insert(by_broker.begin(), by_broker.end());
}

} // namespace latchkey::agent
