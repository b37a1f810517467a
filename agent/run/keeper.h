// SPDX-License-Identifier: Apache-2.0
#pragma once
// Keeps on disk what changes while the agent runs, besides revocations: trust with the managed logins, and
// the bound sessions. One write for all changes that come while another is under way; one that failed stands
// in the troubles and is tried again at each beat. The loop's thread only.

#include "agent/gate/session_book.h"
#include "agent/loop/disk_queue.h"
#include "agent/trust/state_folder.h"

namespace latchkey::agent {

class Keeper {
public:
    Keeper(AgentState& state, SessionBook& sessions, DiskQueue& disk, const StateFolder& folder)
        : state_(state), sessions_(sessions), disk_(disk), folder_(folder) {}

    void keep_trust() { keep(trust_); }
    void keep_sessions() { keep(session_list_); }
    // What the disk did not take.
    void try_again();
    // The sessions that an earlier run had bound go back into the book.
    void restore_sessions();

private:
    struct Entry {
        TroubleKind trouble;
        std::function<Status()> (Keeper::*job)() const; // with a copy of what is to be written
        bool is_due = false;                            // changed since the last write began
        bool is_writing = false;
    };
    void keep(Entry& entry);
    void start(Entry& entry);
    std::function<Status()> trust_job() const;
    std::function<Status()> sessions_job() const;

    AgentState& state_;
    SessionBook& sessions_;
    DiskQueue& disk_;
    const StateFolder& folder_;
    Entry trust_{TroubleKind::kTrustFile, &Keeper::trust_job};
    Entry session_list_{TroubleKind::kSessionsFile, &Keeper::sessions_job};
};

} // namespace latchkey::agent
