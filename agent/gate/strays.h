// SPDX-License-Identifier: Apache-2.0
#pragma once
// Ends connections to managed logins that no session holds. Strays: sshd has let somebody in, PAM's session
// never came to us, and logind has none either; seen at two beats in a row, so that what is just being opened
// is left alone. Stuck: PAM let the login go on, but no session followed and logind has lost it; sshd would
// wait two minutes for logind's answer. Whoever gets in is a new process: while none is started, a look now
// and then is enough. The loop's thread only; the looking is the pool's.

#include <atomic>
#include <memory>
#include <set>

#include "agent/gate/session_book.h"

namespace latchkey::agent {

// From PAM's account check to its session: the modules before ours may take their time.
inline constexpr Micros kOpenPatience = from_seconds(15);
// After so many beats without a new process only each so-many-th is a look.
inline constexpr unsigned kQuietBeats = 6;

class Strays {
public:
    Strays(AgentState& state, Loop& loop, const Monitors& monitors, SessionBook& sessions,
           const SessionEnder& ender, const Processes& processes)
        : state_(state),
          loop_(loop),
          monitors_(monitors),
          sessions_(sessions),
          ender_(ender),
          processes_(processes) {}

    void look(); // at each beat

private:
    struct Found {
        std::vector<Stray> strays;
        std::vector<Stray> stuck;
    };
    bool may_skip();
    bool is_bound(const ProcessId& monitor) const;
    std::vector<Stray> slow_logins() const;
    void judge(const Found& found);
    void end(const Stray& stray, const char* reason);

    AgentState& state_;
    Loop& loop_;
    const Monitors& monitors_;
    SessionBook& sessions_;
    const SessionEnder& ender_;
    const Processes& processes_;
    pid_t newest_ = 0; // process, at the last beat
    unsigned quiet_beats_ = 0;
    std::set<ProcessId> seen_; // at the last look
    const std::shared_ptr<std::atomic<bool>> is_looking_ = std::make_shared<std::atomic<bool>>(false);
};

} // namespace latchkey::agent
