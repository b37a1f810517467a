// SPDX-License-Identifier: Apache-2.0
#pragma once
// Answers PAM inside of sudo: may this session's person use sudo, with a code or without? The broker says,
// asked anew each time; without it the agent goes by what it knows: a grace that still runs, or what the
// grant said at login. A grace belongs to one session, in memory alone: another session, a revocation, the
// session's end and a restarted agent are without it, and after a Refresh the broker has to confirm it first.
// A managed login outside of a bound session is denied. The loop's thread only; bounded.

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/gate/session_book.h"
#include "core/protocol/local.h"

namespace latchkey::agent {

inline constexpr std::size_t kMaxStepUps = 64;                 // open questions to the broker
inline constexpr Micros kStepUpTime = from_millis(1500);       // of the asker's 2 s
inline constexpr Micros kCodeTime = from_seconds(5);           // of kStepUpCodeTime
inline constexpr Micros kMaxSudoGrace = from_seconds(15 * 60); // whatever the broker says

// "sudo", "sudo-i", and what an admin's pam_service= begins with that word.
bool is_sudo(std::string_view service);

class StepUps {
public:
    using Reply = std::function<void(protocol::StepUpAnswer)>;
    using AccountReply = std::function<void(protocol::AccountAnswer)>;

    StepUps(AgentState& state, Loop& loop, HubPort& hub, const Monitors& monitors,
            const SessionBook& sessions, const Processes& processes)
        : state_(state),
          loop_(loop),
          hub_(hub),
          monitors_(monitors),
          sessions_(sessions),
          processes_(processes) {}

    // Each calls its reply exactly once, perhaps later. `asker`: the process of sudo.
    void ask(pid_t asker, const protocol::StepUp& request, Reply reply);
    void judge(pid_t asker, const protocol::StepUpCode& request, Reply reply);
    // sudo's account phase, which sudo goes through even where it skips the auth phase (NOPASSWD, its own
    // time stamp): what ask() would have asked a code for is denied, but to the process that has just given
    // one.
    void check(pid_t asker, const protocol::AccountCheck& request, AccountReply reply);

    void take(const protocol::HubStepUpAnswer& answer);
    void meet_broker(const std::vector<std::string>& capabilities);
    void lose_broker();
    void make_stale(); // a Refresh: no grace holds until the broker confirms it
    void drop_dead();
    std::size_t size() const { return known_.size(); }

private:
    // Of one session, by its monitor.
    struct Known {
        std::optional<protocol::SudoRule> rule; // as the broker last said
        Micros grace_ends;                      // broker time; 0: none
        bool holds_offline = false;
        ProcessId passed; // the sudo that was last let through
    };
    struct Question {
        ProcessId asker;
        BoundSession session;
        bool has_code = false;
        Reply reply;
    };
    using Shared = std::shared_ptr<Question>;

    Shared question_of(pid_t asker, const Login& login, Reply reply);
    void send(const Shared& question, SecretBytes code);
    void finish(std::uint64_t request, const protocol::HubStepUpAnswer* answer);
    void conclude(const Question& question, const protocol::HubStepUpAnswer& answer);
    void go_alone(const Question& question);
    protocol::SudoRule rule_of(const BoundSession& session) const;
    bool is_in_grace(const BoundSession& session) const;
    bool can_ask_broker() const;
    void allow(const Question& question, const std::string& why);
    void deny(const Question& question, const std::string& reason);

    AgentState& state_;
    Loop& loop_;
    HubPort& hub_;
    const Monitors& monitors_;
    const SessionBook& sessions_;
    const Processes& processes_;
    std::map<ProcessId, Known> known_;
    std::map<std::uint64_t, Shared> pending_;
    std::uint64_t last_request_ = 0;
    bool broker_knows_ = false;
};

} // namespace latchkey::agent
