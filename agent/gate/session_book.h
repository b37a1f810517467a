// SPDX-License-Identifier: Apache-2.0
#pragma once
// The live sessions, each bound to its exact credential, and the rows that the broker gets about them. A
// session that we are ending reports its end once, whoever notices first. The loop's thread only.

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "agent/gate/agent_state.h"
#include "agent/gate/hub_port.h"
#include "agent/gate/monitors.h"
#include "agent/loop/loop.h"
#include "agent/sessions/sessions.h"
#include "core/protocol/local.h"

namespace latchkey::agent {

// A cut that is not done by then is reported as not done.
inline constexpr Micros kCutTime = from_seconds(5);

// A session as it is told to root: by `status` and on the system bus.
protocol::LiveSession to_live(const BoundSession& session);

class SessionBook {
public:
    // Those that would not end.
    using Cut = std::function<void(const std::vector<BoundSession>& still_there)>;

    SessionBook(AgentState& state, Loop& loop, HubPort& hub, SessionEnder& ender)
        : state_(state), loop_(loop), hub_(hub), ender_(ender) {}

    // False: the kernel gives no random id, and the session is to be denied.
    bool open(BoundSession session);
    void close(const ProcessId& monitor); // PAM said so
    void sweep();                         // those whose monitor has died without a word
    std::vector<BoundSession> all() const { return table_.all(); }

    // Called after each change, so that a restarted agent still knows what it has to end.
    void on_change(std::function<void()> then) { changed_ = std::move(then); }
    // What an earlier run of the agent had bound; those that are gone by now are reported by the next sweep.
    void restore(std::vector<BoundSession> sessions);
    // To a broker that we reached anew: it may have missed the first report.
    void report_all();

    // Ends them, several at once, off this thread; then calls `done`.
    void cut(const std::vector<BoundSession>& sessions, const std::string& reason, Cut done);
    // A login that PAM turned away although a key had passed sshd.
    void report_refused(const Login& login, const AllowedLogin* allowed, const std::string& from,
                        const std::string& reason);

private:
    void note_change() const {
        if (changed_) changed_();
    }
    void begin_end(const BoundSession& session, const std::string& reason);
    void report(const BoundSession& session, protocol::SessionPhase phase, const std::string& reason);

    AgentState& state_;
    Loop& loop_;
    HubPort& hub_;
    SessionEnder& ender_;
    SessionTable table_;
    std::function<void()> changed_;
    // Being ended, and who waits to hear of it: a session is never ended twice at once.
    std::map<ProcessId, std::vector<std::function<void(EndResult)>>> ending_;
};

} // namespace latchkey::agent
