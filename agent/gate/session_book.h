// SPDX-License-Identifier: Apache-2.0
#pragma once
// The live sessions, each bound to its exact credential, and the rows that the broker gets about them. A
// session that we are ending reports its end once, whoever notices first. The loop's thread only.

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/gate/agent_state.h"
#include "agent/gate/hub_port.h"
#include "agent/gate/monitors.h"
#include "agent/loop/loop.h"
#include "agent/sessions/sessions.h"
#include "core/protocol/local.h"

namespace latchkey::agent {

// A cut that is not done by then is reported as not done; a pool whose threads all hang keeps nobody waiting
// for longer than kCutPatience.
inline constexpr Micros kCutTime = from_seconds(5);
inline constexpr Micros kCutPatience = from_seconds(6); // kCutTime and a second
// sshd's process ends that long after PAM's goodbye, as a rule.
inline constexpr Micros kAfterGoodbye = from_millis(200);
// A disk that hangs keeps no login waiting for longer.
inline constexpr Micros kRecordPatience = from_millis(500);

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
    // PAM said goodbye: the connection is over. What it left running (nohup, tmux) is still the session's, so
    // only a look at the processes ends the row.
    void goodbye();
    // Looks, on the pool, which sessions are over.
    void sweep();
    std::vector<BoundSession> all() const { return table_.all(); }

    // Called after each change, so that a restarted agent still knows what it has to end; it calls `done`,
    // where there is one, once what is known now has been written down, or could not be.
    using Recorded = std::function<void(const Status&)>;
    using Record = std::function<void(Recorded done)>;
    void on_change(Record record) { record_ = std::move(record); }
    // Calls `then` once what is known now would outlive a kill -9 of this agent, or could not be written
    // down; as for a success once patience is over.
    void once_recorded(const Recorded& then);
    // A session that PAM does not let begin after all.
    void take_back(const ProcessId& monitor, const std::string& reason);
    // What an earlier run of the agent had bound; those that are gone by now are reported by the next sweep.
    void restore(std::vector<BoundSession> sessions);
    // To a broker that we reached anew: it may have missed the first report.
    void report_all();

    // Ends them, several at once, off this thread; then, or once patience is over, calls `done`.
    void cut(const std::vector<BoundSession>& sessions, const std::string& reason, Cut done);
    bool is_ending(const ProcessId& monitor) const { return ending_.contains(monitor); }
    // A login that PAM turned away although a key had passed sshd.
    void report_refused(const Login& login, const AllowedLogin* allowed, const std::string& from,
                        const std::string& reason);

private:
    struct Progress;
    struct Group { // the sessions that one cut ends; their jobs go with the last of them
        std::vector<BoundSession> sessions;
        std::atomic<std::size_t> left = 0;
    };
    void note_change() const {
        if (record_) record_({});
    }
    void begin_end(const BoundSession& session, const std::string& reason,
                   const std::shared_ptr<Group>& group);
    EndResult end_one(const BoundSession& session, Group& group); // on the pool
    void close_dead(const BoundSession& session);
    void report(const BoundSession& session, protocol::SessionPhase phase, const std::string& reason);

    AgentState& state_;
    Loop& loop_;
    HubPort& hub_;
    SessionEnder& ender_;
    SessionTable table_;
    Record record_;
    bool is_sweeping_ = false;
    // Being ended, and who waits to hear of it: a session is never ended twice at once.
    std::map<ProcessId, std::vector<std::function<void(EndResult)>>> ending_;
};

} // namespace latchkey::agent
