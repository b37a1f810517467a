// SPDX-License-Identifier: Apache-2.0
#include "broker/daemon/descriptors.h"

namespace latchkey::daemon {
namespace {

constexpr std::size_t kOurOwn = 256; // store, signer, listeners, plugins, event loops
constexpr std::size_t kALogin = 3;   // its socket and what its commands open

} // namespace

std::size_t room_for_agents(std::size_t descriptors, const Config& config,
                            const std::function<void(const std::string&)>& warn) {
    const std::size_t others = kOurOwn + kALogin * config.door.max_logins + config.hub.max_unauthenticated;
    const std::size_t wanted = config.hub.max_agents;
    if (descriptors >= wanted + others) return wanted;
    const std::size_t left = descriptors > others ? descriptors - others : 1;
    warn("have few descriptors limit=" + std::to_string(descriptors) + " agents=" + std::to_string(left) +
         " why=\"hub.max_agents = " + std::to_string(wanted) + " needs " + std::to_string(wanted + others) +
         "\"; raise LimitNOFILE of latchkeyd.service, or lower hub.max_agents");
    return left;
}

} // namespace latchkey::daemon
