// SPDX-License-Identifier: Apache-2.0
#pragma once
// Takes one local request, looks up in the permit table who may ask it, hands it to its room and sends back
// the answer. Malformed and forbidden requests get Refused, unknown ones Unsupported. The loop's thread only.

#include <sys/types.h>

#include <functional>
#include <string>

#include "agent/gate/account_gate.h"
#include "agent/gate/key_gate.h"
#include "agent/gate/step_ups.h"

namespace latchkey::agent {

// What fits into one answer on the local socket.
inline constexpr std::size_t kMaxSessionsTold = 200;
inline constexpr std::size_t kMaxManagedTold = 256;

// As the kernel says of the other end of the socket.
struct Peer {
    pid_t pid = 0;
    uid_t uid = 0;
};

class Front {
public:
    using Reply = std::function<void(Bytes)>;

    // helper_uid: who runs the helper besides root; root's own where that user does not exist.
    Front(AgentState& state, KeyGate& keys, AccountGate& accounts, SessionBook& sessions, StepUps& step_ups,
          uid_t helper_uid)
        : state_(state),
          keys_(keys),
          accounts_(accounts),
          sessions_(sessions),
          step_ups_(step_ups),
          helper_uid_(helper_uid) {}

    // Calls `reply` exactly once, perhaps later.
    void answer(const Peer& peer, const protocol::Frame& request, const Reply& reply);
    void set_broker(std::string address) { broker_ = std::move(address); }
    void set_connected(bool is_connected) { is_connected_ = is_connected; }
    bool is_connected() const { return is_connected_; }

private:
    protocol::AgentStatusAnswer status() const;

    AgentState& state_;
    KeyGate& keys_;
    AccountGate& accounts_;
    SessionBook& sessions_;
    StepUps& step_ups_;
    uid_t helper_uid_;
    std::string broker_;
    bool is_connected_ = false;
};

} // namespace latchkey::agent
