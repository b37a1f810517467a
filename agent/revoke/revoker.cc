// SPDX-License-Identifier: Apache-2.0
#include "agent/revoke/revoker.h"

#include <algorithm>
#include <utility>

#include "agent/log/log.h"
#include "core/protocol/local.h"

namespace latchkey::agent {
namespace {

Result<std::vector<revocation::Revocation>> parse_entries(const protocol::Revoke& message) {
    std::vector<revocation::Revocation> parsed;
    for (const protocol::RevocationEntry& entry : message.entries) {
        auto selector = revocation::Selector::parse(entry.kind, entry.text);
        if (!selector) {
            return fail(Code::kUnsupported,
                        "the broker revoked something that this agent does not understand (epoch " +
                            std::to_string(entry.epoch.value) + ")",
                        "update latchkey-agent");
        }
        parsed.push_back({entry.epoch, *std::move(selector), entry.made_at, entry.drop_at});
    }
    return parsed;
}

// A day longer than needed, because our reckoning of the broker's time can be off.
constexpr Micros kKeptAfterEnd = from_seconds(24 * 3600);
constexpr std::size_t kMaxTrouble = 1024; // in a receipt
constexpr const char* kNotRecorded = "the disk has not taken the record yet";

std::string text_of(Epoch epoch) {
    return std::to_string(epoch.value);
}

} // namespace

Revoker::Revoker(const Parts& parts, OnDisk on_disk)
    : parts_(parts),
      epoch_on_disk_(parts.state.revocations.epoch()),
      is_damaged_(on_disk == OnDisk::kDamaged),
      must_replace_(is_damaged_) {}

Status Revoker::begin(const protocol::Welcome& welcome) {
    AgentState& state = parts_.state;
    const Epoch ours = std::max(state.revocations.epoch(), epoch_on_disk_);
    if (welcome.epoch < ours) {
        const std::string line = "rollback: the broker is at epoch " + text_of(welcome.epoch) +
                                 ", this VM has already applied " + text_of(ours);
        state.troubles.set(TroubleKind::kRollback, line);
        log_error("refuse broker why=" + line);
        return fail(Code::kConflict, line, "find out why the broker went back: a restored database?");
    }
    state.troubles.clear(TroubleKind::kRollback);
    if (wants_all_ && !welcome.full) {
        wants_all_ = false;
        log_warn("miss full resync why=the broker is older and sent what is new alone");
    }
    due_ = welcome.epoch;
    is_full_ = welcome.full;
    is_beyond_us_ = false;
    collected_.clear();
    has_caught_up_ = !is_full_ && !is_damaged_ && ours == due_;
    return {};
}

Status Revoker::take(const protocol::Revoke& message) {
    auto entries = understand(message);
    if (!entries) {
        protocol::Unsupported answer;
        answer.type = static_cast<std::uint8_t>(protocol::Type::kRevoke);
        parts_.hub.send(protocol::encode(answer));
        return {};
    }
    // No receipt before the set is whole.
    if (is_full_ && !message.last) return replace_by(message, *std::move(entries));
    parts_.state.grants.drop_ended(parts_.state.judged());
    const bool was_full = is_full_;
    const Epoch before = parts_.state.revocations.epoch();
    LK_CHECK(is_full_ ? replace_by(message, *std::move(entries)) : apply(message, *entries));
    if (message.last && parts_.state.revocations.epoch() >= due_) {
        has_caught_up_ = true;
        is_damaged_ = false;
        parts_.state.troubles.clear(TroubleKind::kRevocations);
    }

    const bool is_recorded =
        !was_full && !must_replace_ && before == parts_.state.revocations.epoch() && before == epoch_on_disk_;
    act(count(message, before), is_recorded);
    return {};
}

// The write is asked for first, so that it does not queue behind the cuts; neither waits for the other.
void Revoker::act(Tally tally, bool is_recorded) {
    auto pending = std::make_shared<Pending>();
    pending->tally = std::move(tally);
    const auto hear_disk = [this, pending](std::string trouble) {
        if (!pending->disk_trouble) pending->disk_trouble = std::move(trouble);
        send_once_complete(*pending);
    };
    if (is_recorded) {
        pending->disk_trouble.emplace();
    } else {
        record([hear_disk](const Status& written) {
            hear_disk(written ? std::string() : written.error().message);
        });
        parts_.loop.after(kDiskPatience, [hear_disk] { hear_disk(kNotRecorded); });
    }
    parts_.sessions.cut(pending->tally.covered, pending->tally.reason,
                        [this, pending](const std::vector<BoundSession>& still_there) {
                            pending->still_there = still_there;
                            note_outcome(pending->tally.covered, still_there);
                            announce(pending->tally, still_there);
                            send_once_complete(*pending);
                        });
}

void Revoker::send_once_complete(Pending& pending) {
    if (pending.is_sent || !pending.still_there || !pending.disk_trouble) return;
    pending.is_sent = true;
    send_receipt(pending.tally, *pending.still_there, *pending.disk_trouble);
}

// What comes behind one that we do not know counts as unknown too: it would leave a gap.
std::optional<Revoker::Entries> Revoker::understand(const protocol::Revoke& message) {
    if (is_beyond_us_) return std::nullopt;
    auto entries = parse_entries(message);
    if (entries) return *std::move(entries);
    is_beyond_us_ = true;
    parts_.state.troubles.set(TroubleKind::kUnknownRevocation, entries.error().line());
    log_error("refuse revocation why=" + entries.error().message);
    return std::nullopt;
}

Status Revoker::apply(const protocol::Revoke& message, const Entries& entries) {
    AgentState& state = parts_.state;
    for (const revocation::Revocation& entry : entries) {
        if (entry.epoch <= state.revocations.epoch()) continue; // heard before
        LK_CHECK(state.revocations.apply(entry));
        log_info("apply revocation epoch=" + text_of(entry.epoch) +
                 " kind=" + std::string(entry.selector.kind_name()) + " of=" + entry.selector.text);
    }
    if (state.revocations.epoch() < message.epoch)
        return fail(Code::kConflict, "revocations are missing up to epoch " + text_of(message.epoch));
    state.troubles.clear(TroubleKind::kUnknownRevocation);
    return {};
}

Status Revoker::replace_by(const protocol::Revoke& message, Entries entries) {
    AgentState& state = parts_.state;
    collected_.insert(collected_.end(), std::make_move_iterator(entries.begin()),
                      std::make_move_iterator(entries.end()));
    if (!message.last) return {};
    LK_CHECK(state.revocations.replace(message.epoch, std::move(collected_)));
    collected_.clear();
    is_full_ = false;
    wants_all_ = false;
    must_replace_ = true;
    state.troubles.clear(TroubleKind::kUnknownRevocation);
    log_info("replace revocations epoch=" + text_of(message.epoch) +
             " count=" + std::to_string(state.revocations.size()));
    return {};
}

Revoker::Tally Revoker::count(const protocol::Revoke& message, Epoch before) {
    AgentState& state = parts_.state;
    Tally tally;
    tally.epoch = state.revocations.epoch();
    tally.reason = "revoked by epoch " + text_of(message.epoch);
    tally.purged = static_cast<std::uint32_t>(state.grants.drop_ended(state.judged()));
    add_covered(tally);
    if (before == tally.epoch) return tally;
    for (const revocation::Revocation& entry : state.revocations.newer_than(before, kMaxAnnounced))
        tally.fresh.push_back({entry.epoch, std::string(entry.selector.kind_name()), 0});
    return tally;
}

void Revoker::add_covered(Tally& tally) const {
    for (BoundSession& session : parts_.sessions.all()) {
        const revocation::Credential credential{session.user, session.key,     session.serial,
                                                session.ca,   parts_.state.vm, session.issued_at};
        const auto covering = parts_.state.revocations.covers(credential);
        if (!covering) continue;
        tally.covered.push_back(std::move(session));
        tally.covered_by.push_back(covering->epoch);
    }
}

void Revoker::announce(const Tally& tally, const std::vector<BoundSession>& still_there) const {
    if (!applied_) return;
    for (Applied applied : tally.fresh) {
        for (std::size_t i = 0; i < tally.covered.size(); ++i) {
            if (tally.covered_by[i] != applied.epoch) continue;
            const bool is_gone = std::ranges::find(still_there, tally.covered[i].monitor,
                                                   &BoundSession::monitor) == still_there.end();
            if (is_gone) ++applied.sessions_ended;
        }
        applied_(applied);
    }
}

void Revoker::record(std::function<void(const Status&)> then) {
    waiting_.push_back(std::move(then));
    if (!is_writing_) write_now();
}

// One write for all that wait; those that come meanwhile share the next.
void Revoker::write_now() {
    is_writing_ = true;
    const Epoch epoch = parts_.state.revocations.epoch();
    auto askers = std::move(waiting_);
    waiting_.clear();
    // What has ended in between is no longer known here: then the set is written whole.
    const auto news = parts_.state.revocations.after(epoch_on_disk_).size();
    const bool is_whole = std::exchange(must_replace_, false) || epoch.value - epoch_on_disk_.value != news;
    const auto is_long = std::make_shared<bool>(false);
    parts_.disk.write(writing_job(epoch, is_whole, is_long),
                      [this, epoch, is_whole, is_long, askers = std::move(askers)](const Status& written) {
                          is_writing_ = false;
                          if (!written && !is_whole && written.error().code == Code::kTampered) {
                              must_replace_ = true; // nothing can be added to what is there
                              waiting_.insert(waiting_.begin(), askers.begin(), askers.end());
                              return write_now();
                          }
                          if (written) {
                              epoch_on_disk_ = epoch;
                              parts_.state.troubles.clear(TroubleKind::kDisk);
                              if (*is_long) compact();
                          } else {
                              must_replace_ = must_replace_ || is_whole;
                              parts_.state.troubles.set(TroubleKind::kDisk, written.error().line());
                              log_error("fail to record revocation epoch=" + text_of(epoch) +
                                        " why=" + written.error().line());
                          }
                          if (!waiting_.empty()) write_now();
                          for (const auto& asker : askers) asker(written);
                      });
}

// Encodes and writes on the pool: of this thread it takes a copy of what is new, or of the set where that is
// to be written whole.
std::function<Status()> Revoker::writing_job(Epoch epoch, bool is_whole,
                                             const std::shared_ptr<bool>& is_long) const {
    const revocation::RevocationSet& set = parts_.state.revocations;
    auto entries = std::make_shared<const std::vector<revocation::Revocation>>(
        is_whole ? set.all() : set.after(epoch_on_disk_));
    return [files = parts_.files, entries, epoch, is_whole, is_long]() -> Status {
        if (is_whole) return files->replace(revocation::encode_set(epoch, *entries));
        LK_CHECK(files->append(*entries));
        *is_long = files->wants_compaction();
        return {};
    };
}

void Revoker::compact() {
    const Micros ended_by = parts_.state.broker_clock.now() - kKeptAfterEnd;
    parts_.disk.write([files = parts_.files, ended_by] { return files->compact(ended_by); },
                      [](const Status& done) {
                          if (!done) log_warn("fail to compact revocations why=" + done.error().line());
                      });
}

void Revoker::send_receipt(const Tally& tally, const std::vector<BoundSession>& still_there,
                           std::string trouble) {
    const auto complain = [&trouble](const std::string& line) {
        if (line.empty() || trouble.size() > kMaxTrouble) return;
        if (!trouble.empty()) trouble += "; ";
        trouble += line.substr(0, kMaxTrouble / 2);
    };
    // It must not pass for the whole truth where there may be sessions that we do not know.
    for (const TroubleKind kind :
         {TroubleKind::kSessions, TroubleKind::kSessionsFile, TroubleKind::kRevocations})
        complain(parts_.state.troubles.of(kind));
    for (const BoundSession& session : still_there) {
        complain("session " + std::to_string(session.id) + " of " + session.user.str() +
                 " could not be ended");
    }
    protocol::Receipt receipt;
    receipt.epoch = tally.epoch;
    receipt.vm_id = parts_.state.vm_id;
    receipt.sessions_found = static_cast<std::uint32_t>(tally.covered.size());
    receipt.sessions_ended = static_cast<std::uint32_t>(tally.covered.size() - still_there.size());
    receipt.grants_purged = tally.purged;
    receipt.time = parts_.state.broker_clock.now();
    receipt.trouble = std::move(trouble);
    auto signature = parts_.identity.sign(protocol::receipt_signed_bytes(receipt));
    if (!signature) {
        log_error("fail to sign receipt epoch=" + text_of(tally.epoch) + " why=" + signature.error().message);
        return;
    }
    receipt.signature = *std::move(signature);
    parts_.hub.post(protocol::encode(receipt));
    if (signed_) signed_(receipt);
}

void Revoker::tidy() {
    AgentState& state = parts_.state;
    if (state.lease.standing() == Standing::kOnline)
        state.revocations.drop_ended(state.broker_clock.now() - kKeptAfterEnd);
    if (is_behind() && !is_damaged_ && !is_writing_) record([](const Status&) {});
    settle_left(); // some end by themselves, or after we gave them up
    cut_again();
}

bool Revoker::is_behind() const {
    return epoch_on_disk_ < parts_.state.revocations.epoch() || must_replace_;
}

// What would not end, and what an earlier run of the agent had recorded but could not cut any more.
void Revoker::cut_again() {
    Tally tally;
    add_covered(tally);
    std::vector<BoundSession> due;
    const Micros now = parts_.state.clock.monotonic();
    for (const BoundSession& session : tally.covered) {
        if (parts_.sessions.is_ending(session.monitor)) continue;
        const auto left = left_.try_emplace(session.monitor, Left{session, {}, now}).first;
        if (left->second.again_at <= now) due.push_back(session);
    }
    if (due.empty()) return;
    parts_.sessions.cut(due, "revoked by epoch " + text_of(parts_.state.revocations.epoch()) + " or before",
                        [this, due](const std::vector<BoundSession>& still_there) {
                            settle_left();
                            note_outcome(due, still_there);
                        });
}

// After a receipt has said how it went with these.
void Revoker::note_outcome(const std::vector<BoundSession>& tried,
                           const std::vector<BoundSession>& still_there) {
    const Micros now = parts_.state.clock.monotonic();
    for (const BoundSession& session : tried) {
        if (std::ranges::find(still_there, session.monitor, &BoundSession::monitor) == still_there.end()) {
            left_.erase(session.monitor);
            continue;
        }
        Left& left = left_.try_emplace(session.monitor, Left{session, {}, now}).first->second;
        left.pause = std::clamp(left.pause + left.pause, kFirstPause, kLongestPause);
        left.again_at = now + left.pause;
    }
}

// Once one of them is gone, a receipt says how all of them stand.
void Revoker::settle_left() {
    const std::vector<BoundSession> there = parts_.sessions.all();
    Tally tally;
    tally.epoch = parts_.state.revocations.epoch();
    std::vector<BoundSession> still_there;
    for (const auto& [monitor, left] : left_) {
        tally.covered.push_back(left.session);
        if (std::ranges::find(there, monitor, &BoundSession::monitor) != there.end())
            still_there.push_back(left.session);
    }
    if (still_there.size() == tally.covered.size()) return;
    for (const BoundSession& session : tally.covered) {
        if (std::ranges::find(still_there, session.monitor, &BoundSession::monitor) == still_there.end())
            left_.erase(session.monitor);
    }
    send_receipt(tally, still_there, is_behind() ? kNotRecorded : "");
}

} // namespace latchkey::agent
