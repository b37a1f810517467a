// SPDX-License-Identifier: Apache-2.0
// The ledger as this broker sees it, and the other brokers in it. A heartbeat says "up to this moment I know
// of every revocation", so it goes out only behind a look at the ledger and bears the moment when that began:
// the agents of a broker that was cut off from its database, or stopped for a while, hear none and leave it.
#include <algorithm>
#include <boost/asio/post.hpp>
#include <utility>

#include "broker/hub/offload.h"
#include "broker/hub/state.h"
#include "broker/ledger/brokers.h"
#include "broker/ledger/revocations.h"
#include "core/protocol/local.h"

namespace latchkey::hub {
namespace {

constexpr std::int64_t kAliveHeartbeats = 4;    // without a word for so long, a broker is taken for gone
constexpr Micros kEndsAsked = from_seconds(60); // who asked has given up by then
constexpr Micros kLookAgain = from_millis(150); // while somebody waits for receipts
constexpr std::int64_t kLookShare = 5;          // and a fifth of the time at most

} // namespace

Result<std::vector<ledger::PlacedVm>> Hub::State::read_placed(ledger::Transaction& t) const {
    if (!settings.shares_ledger) return std::vector<ledger::PlacedVm>();
    return ledger::placed_vms(t, t.now - Micros{settings.heartbeat.value * kAliveHeartbeats});
}

void Hub::State::beat_when_due(Micros now) {
    if (!settings.shares_ledger) places_due.clear();
    if (!places_due.empty() && !is_placing) {
        is_placing = true;
        spawn_vital(write_places(), "write_places");
    }
    if (is_looking || is_set_back || now < next_beat) return;
    is_looking = true;
    next_beat = now + settings.heartbeat;
    spawn_vital(look_and_beat(), "look_and_beat");
}

asio::awaitable<void> Hub::State::look_and_beat() {
    struct Seen {
        Micros at;
        Epoch epoch;
        std::vector<ledger::PlacedVm> placed;
        std::vector<ledger::SessionEndRow> ends;
    };
    auto look = [this]() -> Result<Seen> {
        const Micros at = parts.clock.now();
        // Where others write too, a write is the proof that this is the database in force and not a copy.
        if (settings.shares_ledger) {
            LK_CHECK(
                parts.ledger.write([&](ledger::Transaction& t) { return ledger::note_broker(t, own_run); }));
        }
        return parts.ledger.read_now([&](ledger::Transaction& t) -> Result<Seen> {
            LK_TRY(epoch, ledger::current_epoch(t));
            LK_TRY(placed, read_placed(t));
            Seen seen{at, epoch, std::move(placed), {}};
            if (!settings.shares_ledger) return seen;
            LK_TRY(asked, ledger::session_ends_for(t, own_run.id, t.now - kEndsAsked));
            seen.ends = std::move(asked);
            return seen;
        });
    };
    const Epoch told = pushed;
    const auto seen = co_await offload(look_pool, std::move(look));
    is_looking = false;
    if (seen && seen->epoch < told) see_set_back(told, seen->epoch);
    if (is_set_back) co_return;
    if (!seen) {
        next_beat = {}; // again at the next tick
        if (!is_blind)
            log(LogLevel::kError,
                "lose ledger why=\"" + seen.error().line() + "\"; agents hear no heartbeat until it is back");
        is_blind = true;
        co_return;
    }
    if (is_blind) log(LogLevel::kInfo, "see ledger epoch=" + std::to_string(seen->epoch.value));
    is_blind = false;
    take_placed(seen->placed);
    for (const ledger::SessionEndRow& end : seen->ends) end_for_another(end);
    due_beat = DueBeat{seen->epoch, seen->at};
    if (seen->epoch > pushed) epoch_moved();
    send_due_beat();
}

// Once all have been told of every revocation that the look saw.
void Hub::State::send_due_beat() {
    if (!due_beat || pushed < due_beat->epoch) return;
    protocol::Heartbeat beat;
    beat.time = due_beat->seen_at;
    beat.epoch = pushed;
    due_beat.reset();
    const auto frame = std::make_shared<const Bytes>(protocol::encode(beat));
    for (const auto& [vm, link] : agents) link->tls->send(frame);
}

const Error& Hub::State::set_back_error() {
    static const Error error{Code::kConflict,
                             "this broker's ledger was set back: revocations that it has told are not in it",
                             "stop all brokers, then run: latchkeyd revoke-all (docs/backup.md)"};
    return error;
}

// A failover lost what was committed last, somebody restored a backup under us, or wrote into the tables. The
// next revocations would get numbers that agents know already, and would be taken for known.
void Hub::State::see_set_back(Epoch told, Epoch found) {
    if (is_set_back) return;
    is_set_back = true;
    due_beat.reset();
    board.set_back(found);
    log(LogLevel::kError, "refuse agents told_epoch=" + std::to_string(told.value) + " ledger_epoch=" +
                              std::to_string(found.value) + " why=\"" + set_back_error().line() + "\"");
    for (const auto& [vm, link] : agents) link->tls->close(); // they come again, and are refused
    ledger::AuditEvent event{.actor = "latchkeyd",
                             .action = "hub.rollback",
                             .object = "ledger",
                             .outcome = "deny",
                             .detail = "{\"told_epoch\":" + std::to_string(told.value) +
                                       ",\"ledger_epoch\":" + std::to_string(found.value) + "}"};
    asio::post(pool, [this, event = std::move(event)] { record_rollback_event(event); });
}

// Which VMs are elsewhere, and whether the ledger says of ours what we know of them.
void Hub::State::take_placed(const std::vector<ledger::PlacedVm>& placed) {
    if (!settings.shares_ledger) return;
    board.set_elsewhere(placed, own_run.id);
    std::unordered_set<std::uint64_t> known;
    for (const ledger::PlacedVm& one : placed) {
        const auto found = agents.find(one.vm.value);
        if (one.broker == own_run.id) {
            known.insert(one.vm.value);
            if (found == agents.end()) places_due.emplace(one.vm.value, Place::kGone);
        } else if (found != agents.end() && one.is_alive) {
            look_for_clone(found->second);
        }
    }
    for (const auto& [vm, link] : agents) {
        if (!known.contains(vm)) places_due.emplace(vm, place_of(*link));
    }
}

// Another broker says that this VM is there. It has moved, and we have not noticed yet; or it speaks to us
// still, and then its key is on two machines.
void Hub::State::look_for_clone(const LinkPtr& link) {
    const auto before = std::exchange(link->frames_when_elsewhere, link->frames);
    if (!before || *before == link->frames || !link->tls->is_open()) return;
    const std::string line = "two machines have this VM's identity: " + link->address +
                             " is connected here, another one to another broker";
    if (log_of(LogLevel::kError, *link->vm, "see clone", " why=\"" + line + "\""))
        note(*link->vm, "clone", line);
}

Hub::State::Place Hub::State::place_of(const Link& link) {
    return link.has_step_up ? Place::kHereWithSudo : Place::kHere;
}

// One after the other, so that the newest word of each VM is the last one written.
asio::awaitable<void> Hub::State::write_places() {
    const auto due =
        std::make_shared<const std::unordered_map<std::uint64_t, Place>>(std::exchange(places_due, {}));
    auto write = [this, due] {
        return parts.ledger.write([&](ledger::Transaction& t) -> Status {
            const auto of = [&](Place place) {
                std::vector<VmId> vms;
                for (const auto& [vm, where] : *due) {
                    if (where == place) vms.push_back(VmId{vm});
                }
                return vms;
            };
            LK_CHECK(ledger::place_vms(t, own_run.id, ledger::SudoWord::kAsks, of(Place::kHereWithSudo)));
            LK_CHECK(ledger::place_vms(t, own_run.id, ledger::SudoWord::kNone, of(Place::kHere)));
            return ledger::unplace_vms(t, own_run.id, of(Place::kGone));
        });
    };
    const Status written = co_await offload(look_pool, std::move(write));
    is_placing = false;
    if (!written) log(LogLevel::kWarn, "fail to place vms why=\"" + written.error().line() + "\"");
    // What was not written is noticed by the next look.
}

// Any thread that may block. Several that ask at once share one look.
void Hub::State::look_elsewhere(Looks looks) {
    if (!settings.shares_ledger) return;
    std::unique_lock lock(looking, std::defer_lock);
    if (looks == Looks::kNow) {
        lock.lock();
    } else if (!lock.try_lock() || parts.clock.monotonic() < look_again_at) {
        return;
    }
    const Micros began = parts.clock.monotonic();
    const auto placed = parts.ledger.read([this](ledger::Transaction& t) { return read_placed(t); });
    const Micros ended = parts.clock.monotonic();
    look_again_at = ended + std::max(kLookAgain, Micros{(ended - began).value * kLookShare});
    if (placed) board.set_elsewhere(*placed, own_run.id);
}

// Asked for by another broker, which waits for the answer in the ledger.
void Hub::State::end_for_another(const ledger::SessionEndRow& end) {
    const auto found = agents.find(end.vm.value);
    if (found == agents.end()) return;
    if (std::ranges::find(asked_ends, end.id, &ledger::SessionEndRow::id) != asked_ends.end()) return;
    asked_ends.push_back(end);
    protocol::SessionEnd message;
    message.session = end.session;
    message.reason = end.reason;
    found->second->send(message);
}

void Hub::State::tell_end(VmId vm, std::uint64_t session, protocol::SessionOutcome outcome) {
    ends.tell(vm, session, outcome);
    std::erase_if(asked_ends, [&](const ledger::SessionEndRow& asked) {
        if (asked.vm != vm || asked.session != session) return false;
        asio::post(pool, [this, id = asked.id, outcome] {
            const Status written = parts.ledger.write(
                [&](ledger::Transaction& t) { return ledger::answer_session_end(t, id, outcome); });
            if (!written)
                log(LogLevel::kWarn, "fail to answer session end why=\"" + written.error().line() + "\"");
        });
        return true;
    });
}

void Hub::State::lose_ends(VmId vm) {
    ends.lose(vm);
    std::erase_if(asked_ends, [&](const ledger::SessionEndRow& asked) { return asked.vm == vm; });
}

// The caller's thread. The broker that has the VM asks it, at its next look at the latest.
Result<protocol::SessionOutcome> Hub::State::end_elsewhere(VmId vm, std::uint64_t session,
                                                           std::string_view reason, Micros deadline) {
    LK_TRY(id, parts.ledger.write(
                   [&](ledger::Transaction& t) { return ledger::ask_session_end(t, vm, session, reason); }));
    std::optional<protocol::SessionOutcome> outcome;
    Status read;
    do {
        auto answer =
            parts.ledger.read([&](ledger::Transaction& t) { return ledger::outcome_of_session_end(t, id); });
        if (answer) {
            outcome = *answer;
        } else {
            read = fail(answer.error());
        }
    } while (read && !outcome && parts.clock.monotonic() < deadline && ends.pause(kLookAgain));
    const Status ended =
        parts.ledger.write([&](ledger::Transaction& t) { return ledger::drop_session_end(t, id); });
    if (!ended) log(LogLevel::kWarn, "fail to drop session end why=\"" + ended.error().line() + "\"");
    if (outcome) return *outcome;
    LK_CHECK(read);
    return fail(Code::kTimedOut, "the VM is at another broker, and no answer has come from there",
                "look at: sessions ls; or revoke the certificate: that reaches it in any case");
}

// When we leave: our VMs are nowhere until another broker has them.
void Hub::State::forget_run() {
    if (!settings.shares_ledger) return;
    const Status gone =
        parts.ledger.write([this](ledger::Transaction& t) { return ledger::forget_broker(t, own_run.id); });
    if (!gone) log(LogLevel::kWarn, "fail to leave why=\"" + gone.error().line() + "\"");
}

} // namespace latchkey::hub
