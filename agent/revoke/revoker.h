// SPDX-License-Identifier: Apache-2.0
#pragma once
// Applies what the broker takes away: in memory (from that moment nobody new gets in), then on disk and,
// beside it, on the sessions bound to it, which end; then the signed receipt goes out. A disk that does not
// take it stops none of this but is said in the receipt, as is a session that would not end: that one is
// tried again, and once it has gone another receipt says so. The loop's thread only.

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "agent/gate/session_book.h"
#include "agent/loop/disk_queue.h"
#include "agent/trust/revocation_files.h"
#include "agent/trust/state_folder.h"
#include "core/keys/private_key.h"

namespace latchkey::agent {

// A disk that hangs keeps no receipt back for longer than this.
inline constexpr Micros kDiskPatience = from_seconds(2);
inline constexpr std::size_t kMaxAnnounced = 256;
// A session that would not end is tried again after the first, then after twice as long each time.
inline constexpr Micros kFirstPause = from_seconds(10);
inline constexpr Micros kLongestPause = from_seconds(600);

class Revoker {
public:
    struct Parts {
        AgentState& state;
        Loop& loop;
        DiskQueue& disk;
        HubPort& hub;
        SessionBook& sessions;
        const StateFolder& folder;
        const keys::PrivateKey& identity;
        std::shared_ptr<RevocationFiles> files; // used by the disk queue's jobs alone
    };
    // Whether the files gave all that was in them: else the broker is to send everything, and until then the
    // state's troubles deny.
    enum class OnDisk : std::uint8_t { kWhole = 1, kDamaged };
    Revoker(const Parts& parts, OnDisk on_disk);

    // At a Welcome. kConflict: the broker is older than our disk and is not to be talked to.
    Status begin(const protocol::Welcome& welcome);
    // A failure means that the connection is of no use: begin again. One of a kind that this agent does not
    // know is none: it is told so, everything is denied, and the broker's admin reads that we are too old.
    Status take(const protocol::Revoke& message);
    // The next connection is to bring everything that is in force, in place of what is held.
    void ask_for_all() { wants_all_ = true; }
    bool wants_all() const { return wants_all_ || is_damaged_; }
    // Called for each new revocation once its sessions are cut.
    struct Applied {
        Epoch epoch;
        std::string kind;
        std::uint32_t sessions_ended = 0;
    };
    void on_applied(std::function<void(const Applied&)> then) { applied_ = std::move(then); }
    // Everything up to the Welcome's epoch is applied.
    bool has_caught_up() const { return has_caught_up_; }

    // Called with each receipt as it goes out.
    void on_receipt(std::function<void(const protocol::Receipt&)> then) { signed_ = std::move(then); }

    // Now and then: forgets what has ended, tries the disk again, and the sessions that would not end.
    void tidy();
    // What the broker is to go on from: the last epoch on disk, 0 where that is not whole.
    Epoch goes_on_from() const { return is_damaged_ ? Epoch{} : epoch_on_disk_; }

private:
    struct Tally { // of one message, until its receipt
        Epoch epoch;
        std::uint32_t purged = 0;
        std::vector<BoundSession> covered;
        std::vector<Epoch> covered_by; // the revocation that covers each of them
        std::vector<Applied> fresh;    // the newest kMaxAnnounced
        std::string reason;
    };
    using Entries = std::vector<revocation::Revocation>;
    std::optional<Entries> understand(const protocol::Revoke& message);
    Status apply(const protocol::Revoke& message, const Entries& entries);
    Status replace_by(const protocol::Revoke& message, Entries entries);
    Tally count(const protocol::Revoke& message, Epoch before);
    void add_covered(Tally& tally) const;
    void announce(const Tally& tally, const std::vector<BoundSession>& still_there) const;
    void record(std::function<void(const Status&)> then);
    void write_now();
    std::function<Status()> writing_job(Epoch epoch, bool is_whole,
                                        const std::shared_ptr<bool>& is_long) const;
    void compact();
    struct Pending { // a receipt, until the cut is done and the disk has answered
        Tally tally;
        std::optional<std::vector<BoundSession>> still_there;
        std::optional<std::string> disk_trouble;
        bool is_sent = false;
    };
    void act(Tally tally, bool is_recorded);
    void send_once_complete(Pending& pending);
    bool is_behind() const; // the disk, of what is in force
    void cut_again();
    void note_outcome(const std::vector<BoundSession>& tried, const std::vector<BoundSession>& still_there);
    void settle_left();
    void send_receipt(const Tally& tally, const std::vector<BoundSession>& still_there, std::string trouble);

    struct Left { // a session that is revoked but would not end
        BoundSession session;
        Micros pause;
        Micros again_at; // monotonic
    };

    Parts parts_;
    std::map<ProcessId, Left> left_;
    std::function<void(const protocol::Receipt&)> signed_;
    Epoch epoch_on_disk_;
    Epoch due_;            // the Welcome's
    bool is_full_ = false; // what comes replaces the set
    bool wants_all_ = false;
    bool has_caught_up_ = false;
    std::vector<revocation::Revocation> collected_; // of a full set, until its last message
    bool is_beyond_us_ = false; // this connection has brought a revocation of an unknown kind
    bool is_damaged_ = false;   // what was on disk is not whole: until the broker has sent everything
    bool must_replace_ = false; // the next write is the whole set
    bool is_writing_ = false;
    std::vector<std::function<void(const Status&)>> waiting_; // for the next write
    std::function<void(const Applied&)> applied_;
};

} // namespace latchkey::agent
