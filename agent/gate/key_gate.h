// SPDX-License-Identifier: Apache-2.0
#pragma once
// Answers the helper: may this key log in as this account? The monitor that asked is read from the kernel,
// the decision is recorded for it, and the answer is lines for sshd. Every way but one ends in no line:
// denied. The loop's thread only; one question costs no disk and, where the grant is held, no broker.

#include <functional>
#include <memory>

#include "agent/gate/fetches.h"
#include "agent/gate/monitors.h"
#include "core/protocol/local.h"

namespace latchkey::agent {

// The helper and sshd wait 2 s; what is left is for the way back.
inline constexpr Micros kAuthorizeTime = from_millis(1500);

class KeyGate {
public:
    using Reply = std::function<void(protocol::Authorized)>;

    KeyGate(AgentState& state, Fetches& fetches, Monitors& monitors, const Processes& processes)
        : state_(state), fetches_(fetches), monitors_(monitors), processes_(processes) {}

    // helper: the process that asks; sshd's monitor is its parent.
    void authorize(pid_t helper, const protocol::Authorize& request, Reply reply);

private:
    struct Question {
        ProcessId monitor;
        Offer offer;
        Micros deadline;
        Reply reply;
        int rounds = 0;
    };
    using Shared = std::shared_ptr<Question>;

    void decide(const Shared& question);
    void allow(const Question& question, const VerifiedGrant& grant);
    void deny_alone(const Question& question, const std::string& reason); // without a broker
    void deny(const Question& question, const std::string& reason);

    AgentState& state_;
    Fetches& fetches_;
    Monitors& monitors_;
    const Processes& processes_;
    std::optional<Micros> denied_alone_at_; // monotonic: when that was logged last
};

// What the client offered, taken from the key itself; kRefused where type, blob and fingerprint disagree.
Result<Offer> read_offer(const protocol::Authorize& request);

} // namespace latchkey::agent
