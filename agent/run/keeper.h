// SPDX-License-Identifier: Apache-2.0
#pragma once
// Keeps on disk what changes while the agent runs, besides revocations: trust with the managed logins, the
// break-glass accounts, the bound sessions (in a queue of their own: a login waits for them, and a disk that
// hangs must not hold them up), and what is to be reported. One write for all changes that come while another
// is under way; one that failed stands in the troubles and is tried again at each beat. The loop's thread
// only.

#include "agent/gate/session_book.h"
#include "agent/loop/disk_queue.h"
#include "agent/run/break_glass_spool.h"
#include "agent/run/reports.h"
#include "agent/trust/state_folder.h"

namespace latchkey::agent {

class Keeper {
public:
    Keeper(AgentState& state, Loop& loop, SessionBook& sessions, Reports& reports, DiskQueue& disk,
           const StateFolder& folder)
        : state_(state),
          sessions_(sessions),
          reports_(reports),
          disk_(disk),
          sessions_disk_(loop),
          folder_(folder) {}

    void keep_trust() { keep(trust_); }
    // `done`, where there is one, is called once the sessions of this moment are written, or could not be: by
    // the write that is under way, where they have not changed since it began.
    void keep_sessions(SessionBook::Recorded done);
    void keep_break_glass() { keep(break_glass_); }
    // A hint where brokers are: one that is not written is heard again.
    void keep_brokers(std::vector<protocol::BrokerAddress> brokers);
    void keep_reports() { keep(report_list_); }
    // What the PAM module wrote down of break-glass accounts becomes reports.
    void collect_uses();
    // What the disk did not take.
    void try_again();
    // The sessions that an earlier run had bound go back into the book, what it had to report to the reports.
    void restore();

private:
    struct Entry {
        TroubleKind trouble;
        std::function<Status()> (Keeper::*job)() const; // with a copy of what is to be written
        DiskQueue& disk;
        bool is_due = false; // changed since the last write began
        bool is_writing = false;
        std::vector<SessionBook::Recorded> waiting = {};  // for the next write
        std::vector<SessionBook::Recorded> watching = {}; // the one that is under way
    };
    void keep(Entry& entry);
    void start(Entry& entry);
    std::function<Status()> trust_job() const;
    std::function<Status()> sessions_job() const;
    std::function<Status()> break_glass_job() const;
    std::function<Status()> reports_job() const;
    void restore_sessions();
    void restore_reports();
    void take_uses(const Result<BreakGlassSpool::Read>& read);

    AgentState& state_;
    SessionBook& sessions_;
    Reports& reports_;
    DiskQueue& disk_;
    DiskQueue sessions_disk_;
    const StateFolder& folder_;
    Entry trust_{TroubleKind::kTrustFile, &Keeper::trust_job, disk_};
    Entry session_list_{TroubleKind::kSessionsFile, &Keeper::sessions_job, sessions_disk_};
    Entry break_glass_{TroubleKind::kBreakGlassFile, &Keeper::break_glass_job, disk_};
    Entry report_list_{TroubleKind::kReportsFile, &Keeper::reports_job, disk_};
    bool is_collecting_ = false;
};

} // namespace latchkey::agent
