// SPDX-License-Identifier: Apache-2.0
// Connections come and go; the tick: deadlines, heartbeats, what is noted of each VM.
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <chrono>
#include <cstring>

#include "broker/hub/await.h"
#include "broker/hub/offload.h"
#include "broker/hub/state.h"
#include "broker/ledger/vms.h"
#include "broker/listen/address_group.h"

namespace latchkey::hub {
namespace {

constexpr std::int64_t kSilentHeartbeats = 4; // then the agent is taken for gone
constexpr Micros kNoteEvery = from_seconds(60);
constexpr Micros kSayFullEvery = from_seconds(60);
constexpr Micros kLongestTurn = from_millis(20); // then it looks at the clock again
constexpr std::size_t kTurnsASecond = 50;
constexpr std::size_t kNotesAtOnce = 256;

struct Note {
    VmId vm;
    Micros at;
    Epoch confirmed;
    std::int64_t clock_offset_micros;
    std::string software;
    std::string trouble;
};

} // namespace

bool Hub::State::has_room(const std::string& group) {
    if (links.size() >= settings.max_agents) {
        const Micros now = parts.clock.monotonic();
        if (!said_full_at || now - *said_full_at > kSayFullEvery) {
            said_full_at = now;
            log(LogLevel::kWarn,
                "turn away agents connected=" + std::to_string(links.size()) +
                    " why=\"that is all there is room for\"; raise hub.max_agents, or add a broker");
        }
        return false;
    }
    const auto of_group = waiting.find(group);
    return of_group == waiting.end() || of_group->second < settings.max_unauthenticated_per_address;
}

asio::awaitable<void> Hub::State::turn() {
    asio::steady_timer pause(io);
    while (waiting_count >= settings.max_unauthenticated && acceptor.is_open()) {
        pause.expires_after(std::chrono::microseconds(kLongestTurn.value));
        co_await pause.async_wait(kAwait);
    }
    // Where several are due in one turn they go in together: they share the broker's wake-ups, and the rate
    // is the same.
    const bool are_several = settings.handshakes_per_second >= kTurnsASecond;
    for (Micros left = handshakes.take(parts.clock.monotonic()); left.value > 0 && acceptor.is_open();
         left = handshakes.take(parts.clock.monotonic())) {
        const Micros turn = are_several ? kLongestTurn : std::min(left, kLongestTurn);
        pause.expires_after(std::chrono::microseconds(turn.value));
        co_await pause.async_wait(kAwait);
    }
}

asio::awaitable<void> Hub::State::accept() {
    for (;;) {
        auto [error, socket] = co_await acceptor.async_accept(kAwait);
        if (!acceptor.is_open()) co_return;
        if (error) { // no descriptors left, or the peer gave up: others may leave meanwhile
            asio::steady_timer pause(io, std::chrono::milliseconds(50));
            co_await pause.async_wait(kAwait);
            continue;
        }
        const auto peer = socket.remote_endpoint(error);
        if (error || has_left(socket.native_handle())) {
            figures.connections.left.add();
            continue;
        }
        sockaddr_storage address{};
        std::memcpy(&address, peer.data(), peer.size());
        std::string group = address_group(address);
        if (!has_room(group)) {
            figures.connections.no_room.add();
            continue; // closed by its destructor
        }
        co_await turn();
        if (!acceptor.is_open()) co_return;
        auto link = std::make_shared<Link>(
            std::make_shared<TlsConnection>(std::move(socket), tls.get(), settings.queue_bytes));
        link->address = address_text(address);
        link->group = std::move(group);
        asio::co_spawn(io, hold(std::move(link)), asio::detached);
    }
}

asio::awaitable<void> Hub::State::hold(LinkPtr link) {
    link->heard_at = parts.clock.monotonic();
    link->event_tokens = static_cast<double>(settings.events_at_once);
    link->due = link->heard_at + settings.handshake_deadline;
    links.insert(link);
    ++waiting[link->group];
    ++waiting_count;

    const Status spoken = co_await converse(link);

    link->tls->close();
    links.erase(link);
    if (!link->is_welcome) { // else it left the waiting ones at its Welcome
        --waiting_count;
        if (--waiting[link->group] == 0) waiting.erase(link->group);
        (link->was_refused ? figures.connections.refused
         : link->was_late  ? figures.connections.timed_out
                           : figures.connections.left)
            .add();
        if (link->vm)
            log_of(LogLevel::kWarn, *link->vm, "refuse agent", " why=\"" + spoken.error().line() + "\"");
        co_return;
    }
    const auto found = agents.find(link->vm->id.value);
    if (found == agents.end() || found->second != link)
        co_return; // another connection of this VM took its place
    agents.erase(found);
    board.disconnect(link->vm->id, parts.clock.now());
    places_due[link->vm->id.value] = Place::kGone;
    lose_ends(link->vm->id);
    const bool is_slow = link->tls->was_too_slow();
    const std::string why = is_slow ? "it reads too slowly" : spoken.error().message;
    const bool is_said = log_of(LogLevel::kInfo, *link->vm, "lose agent", " why=\"" + why + "\"");
    if (!is_slow) co_return;
    dropped.insert(link->vm->id.value);
    if (is_said)
        note(*link->vm, "slow",
             "dropped: " + std::to_string(settings.queue_bytes) + " bytes were waiting for it");
}

// One timer for all agents: closes what is over its time, has heartbeats sent, notes what was seen.
asio::awaitable<void> Hub::State::keep_time() {
    const Micros step{std::min<std::int64_t>(settings.heartbeat.value, 500'000)};
    while (acceptor.is_open()) {
        const Micros now = parts.clock.monotonic();
        for (const LinkPtr& link : links) {
            // While it is told what it missed, it is not listened to: taking that in is its sign of life.
            if (link->is_catching_up && link->written != link->tls->written_bytes()) {
                link->written = link->tls->written_bytes();
                link->heard_at = now;
            }
            const bool is_late = link->due && now > *link->due;
            const bool is_silent =
                now - link->heard_at > Micros{settings.heartbeat.value * kSilentHeartbeats};
            link->was_late = link->was_late || is_late;
            if (is_late || (link->is_welcome && is_silent)) link->tls->close();
        }
        beat_when_due(now);
        note_seen();
        look_at_queues();
        tick.expires_after(std::chrono::microseconds(step.value));
        co_await tick.async_wait(kAwait);
    }
}

// Into the VMs' rows, in one transaction for many, once a minute or where something changed.
void Hub::State::note_seen() {
    const Micros monotonic = parts.clock.monotonic();
    const Micros now = parts.clock.now();
    std::vector<Note> notes;
    for (const auto& [vm, link] : agents) {
        if (notes.size() == kNotesAtOnce) break; // the next tick goes on
        if (!link->is_seen_due && monotonic - link->seen_noted_at < kNoteEvery) continue;
        link->is_seen_due = false;
        link->seen_noted_at = monotonic;
        notes.push_back({VmId{vm}, now, board.entry(VmId{vm}).confirmed, link->clock_offset_micros,
                         link->software, link->trouble});
    }
    if (notes.empty()) return;
    asio::post(pool, [this, notes = std::move(notes)] {
        const Status written = parts.ledger.write([&](ledger::Transaction& t) -> Status {
            for (const Note& note : notes) {
                LK_CHECK(ledger::note_vm_seen(t, note.vm, note.at, note.confirmed, note.clock_offset_micros,
                                              note.software, note.trouble));
            }
            return {};
        });
        if (!written) log(LogLevel::kWarn, "fail to note vms why=\"" + written.error().line() + "\"");
    });
}

} // namespace latchkey::hub
