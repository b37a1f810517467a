// SPDX-License-Identifier: Apache-2.0
#include "agent/hub_link/hub_link.h"

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <deque>
#include <optional>
#include <random>
#include <utility>

#include "agent/hub_link/back_off.h"
#include "agent/hub_link/tls_stream.h"
#include "agent/log/log.h"
#include "core/protocol/local.h"

namespace latchkey::agent {
namespace {

constexpr std::size_t kWriteSize = 64 * 1024;

Error from_refused(const protocol::Frame& frame, const std::string& otherwise) {
    if (frame.type == protocol::Type::kRefused) {
        const auto refused = protocol::decode<protocol::Refused>(frame);
        if (refused)
            return {Code::kRefused, "the broker refuses this VM: " + refused->message, refused->next};
    }
    return {Code::kMalformed, otherwise, {}};
}

} // namespace

struct HubLink::State : std::enable_shared_from_this<HubLink::State> {
    struct Outgoing {
        Bytes frame;
        bool is_kept; // posted: survives this connection
    };

    State(asio::io_context& context, const Clock& the_clock, Fingerprint the_broker_key,
          BrokerOrder& the_brokers, const keys::PrivateKey& key, HubClient& the_client,
          Micros the_connect_time)
        : io(context),
          clock(the_clock),
          broker_key(std::move(the_broker_key)),
          brokers(the_brokers),
          identity(key),
          client(the_client),
          connect_time(the_connect_time),
          pause(io) {}

    asio::awaitable<void> run();
    asio::awaitable<Error> talk(); // one connection, until it ends
    asio::awaitable<Status> greet();
    asio::awaitable<void> drain();
    void start_drain();
    Status take(const protocol::Frame& frame);
    void enqueue(Bytes frame, bool is_kept);
    void keep_posted();
    void choose_broker(std::optional<Micros> lasted);
    Micros pause_before_next(std::optional<Micros> lasted);

    asio::io_context& io;
    const Clock& clock;
    const Fingerprint broker_key;
    BrokerOrder& brokers;
    const keys::PrivateKey& identity;
    HubClient& client;
    const Micros connect_time;
    asio::steady_timer pause;
    TlsContext tls; // from the first attempt on
    std::shared_ptr<TlsStream> stream;
    std::deque<Outgoing> outgoing;
    std::deque<Bytes> outbox; // posted while no broker was there
    std::size_t unsent_bytes = 0;
    Micros heartbeat_period = from_seconds(5);
    Micros last_heartbeat; // monotonic
    std::mt19937_64 random{std::random_device{}()};
    BackOff back_off;
    // How the last connection went.
    std::optional<Micros> greeted_at; // monotonic
    bool was_left = false;            // it ended because of what the broker said, or did not say
    bool is_welcome = false;          // greeted: frames may flow
    bool is_writing = false;
    bool is_silent = false; // the broker's heartbeats are missing
    bool is_stopping = false;
    std::string renewing; // why we ended the connection ourselves
};

// The first choice again only where we have to connect anyway and the last broker was of use; else the next,
// and so round all of them.
void HubLink::State::choose_broker(std::optional<Micros> lasted) {
    if (BackOff::is_steady(lasted, heartbeat_period) && !was_left) {
        brokers.try_first();
    } else {
        brokers.try_next();
    }
}

Micros HubLink::State::pause_before_next(std::optional<Micros> lasted) {
    const Micros longest = back_off.after(lasted, heartbeat_period, brokers.count());
    return {std::uniform_int_distribution<std::int64_t>(0, longest.value)(random)};
}

asio::awaitable<void> HubLink::State::run() {
    const auto self = shared_from_this();
    while (!is_stopping) {
        const Error why = co_await talk();
        is_welcome = false;
        if (stream) stream->close();
        stream.reset();
        keep_posted();
        if (is_stopping) break;
        client.lost(why);
        std::optional<Micros> lasted;
        if (greeted_at) lasted = clock.monotonic() - *greeted_at;
        choose_broker(lasted);
        pause.expires_after(std::chrono::microseconds(pause_before_next(lasted).value));
        static_cast<void>(co_await pause.async_wait(asio::as_tuple(asio::use_awaitable)));
    }
}

asio::awaitable<Error> HubLink::State::talk() {
    greeted_at.reset();
    was_left = false;
    if (!tls) {
        auto made = make_tls_context(identity);
        if (!made) co_return made.error();
        tls = *std::move(made);
    }
    auto connected = co_await TlsStream::connect(brokers.current(), broker_key, tls, connect_time);
    if (!connected) co_return connected.error();
    if (is_stopping) co_return Error{Code::kUnavailable, "stopped", {}};
    stream = *std::move(connected);
    is_silent = false;
    renewing.clear();
    const Status greeted = co_await greet();
    if (!greeted) co_return greeted.error();
    greeted_at = clock.monotonic();
    while (true) {
        const auto frame = co_await stream->read();
        was_left = frame || is_silent;
        if (!frame && is_silent) co_return Error{Code::kTimedOut, "the broker's heartbeats are missing", {}};
        if (!frame && !renewing.empty()) co_return Error{Code::kUnavailable, std::exchange(renewing, {}), {}};
        if (!frame) co_return frame.error();
        const Status taken = take(*frame);
        if (!taken) co_return taken.error();
    }
}

asio::awaitable<Status> HubLink::State::greet() {
    Bytes hello = protocol::encode(client.hello());
    const Status sent = co_await stream->write(std::move(hello));
    if (!sent) co_return sent;
    const auto frame = co_await stream->read_within(connect_time);
    if (!frame) co_return fail(frame.error());
    const auto welcome = protocol::decode<protocol::Welcome>(*frame);
    if (!welcome) co_return fail(from_refused(*frame, "the broker's Welcome does not parse"));
    heartbeat_period = from_seconds(std::clamp<std::int64_t>(welcome->heartbeat_seconds, 1, 300));
    last_heartbeat = clock.monotonic();
    is_welcome = true; // what the client says from here on may go out
    const Status accepted = client.welcome(*welcome);
    if (!accepted) {
        is_welcome = false;
        protocol::Refused refused;
        refused.code = info(accepted.error().code).name;
        refused.message = accepted.error().message;
        refused.next = accepted.error().next;
        Bytes bytes = protocol::encode(refused);
        static_cast<void>((co_await stream->write(std::move(bytes))).has_value());
        co_return accepted;
    }
    while (!outbox.empty()) {
        enqueue(std::move(outbox.front()), true);
        outbox.pop_front();
    }
    co_return Status();
}

Status HubLink::State::take(const protocol::Frame& frame) {
    if (frame.type == protocol::Type::kHeartbeat) {
        const auto beat = protocol::decode<protocol::Heartbeat>(frame);
        if (beat && client.vouches(*beat)) last_heartbeat = clock.monotonic();
    }
    if (frame.type == protocol::Type::kRefused)
        return fail(from_refused(frame, "the broker refuses this VM"));
    return client.take(frame);
}

void HubLink::State::enqueue(Bytes frame, bool is_kept) {
    unsent_bytes += frame.size();
    outgoing.push_back({std::move(frame), is_kept});
    if (unsent_bytes > kMaxUnsentBytes) { // the broker does not read
        stream->close();
        return;
    }
    start_drain();
}

void HubLink::State::start_drain() {
    if (is_writing || outgoing.empty() || !is_welcome) return;
    is_writing = true;
    asio::co_spawn(io, drain(), [self = shared_from_this()](const std::exception_ptr& problem) {
        self->is_writing = false;
        if (problem) log_error("fail to write to the broker why=exception");
        self->start_drain(); // what came for a new connection while the old one was aborted
    });
}

// Writes what waits, several frames at once; a frame leaves the queue only once it is written.
asio::awaitable<void> HubLink::State::drain() {
    const std::shared_ptr<TlsStream> used = stream;
    while (!outgoing.empty() && is_welcome && stream == used) {
        Bytes batch;
        std::size_t frames = 0;
        while (frames < outgoing.size() && (frames == 0 || batch.size() < kWriteSize)) {
            batch.insert(batch.end(), outgoing[frames].frame.begin(), outgoing[frames].frame.end());
            ++frames;
        }
        const std::size_t size = batch.size();
        const Status written = co_await used->write(std::move(batch));
        if (stream != used) co_return; // another connection by now: keep_posted() has tidied up
        if (!written) {
            is_welcome = false;
            used->close(); // the reader notices and begins again
            co_return;
        }
        unsent_bytes -= size;
        outgoing.erase(outgoing.begin(), outgoing.begin() + static_cast<std::ptrdiff_t>(frames));
    }
}

void HubLink::State::keep_posted() {
    for (auto entry = outgoing.rbegin(); entry != outgoing.rend(); ++entry) {
        if (entry->is_kept) outbox.push_front(std::move(entry->frame));
    }
    outgoing.clear();
    unsent_bytes = 0;
    while (outbox.size() > kOutboxFrames) outbox.pop_front();
}

HubLink::HubLink(asio::io_context& io, const Clock& clock, const Fingerprint& broker_key,
                 BrokerOrder& brokers, const keys::PrivateKey& identity, HubClient& client,
                 Micros connect_time)
    : state_(std::make_shared<State>(io, clock, broker_key, brokers, identity, client, connect_time)) {}

HubLink::~HubLink() {
    stop();
}

void HubLink::start() {
    asio::co_spawn(state_->io, state_->run(), [](const std::exception_ptr& problem) {
        if (!problem) return;
        log_error("fail in the connection to the broker why=exception; restarting");
        std::terminate(); // systemd starts us anew; without this link nothing is served
    });
}

void HubLink::stop() {
    state_->is_stopping = true;
    state_->pause.cancel();
    if (state_->stream) state_->stream->close();
}

void HubLink::beat() {
    if (!state_->is_welcome) return;
    const Micros silence = state_->clock.monotonic() - state_->last_heartbeat;
    if (silence.value > kMissedHeartbeats * state_->heartbeat_period.value) {
        state_->is_silent = true;
        state_->stream->close();
        return;
    }
    send(protocol::encode(state_->client.heartbeat()));
}

void HubLink::renew(const std::string& why) {
    if (!state_->is_welcome) return; // a new one is on its way
    state_->renewing = why;
    state_->stream->close();
}

void HubLink::send(Bytes frame) {
    if (state_->is_welcome) state_->enqueue(std::move(frame), false);
}

void HubLink::post(Bytes frame) {
    if (state_->is_welcome) return state_->enqueue(std::move(frame), true);
    state_->outbox.push_back(std::move(frame));
    if (state_->outbox.size() > kOutboxFrames) state_->outbox.pop_front();
}

} // namespace latchkey::agent
