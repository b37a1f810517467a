// SPDX-License-Identifier: Apache-2.0
#include "broker/door/transport.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace latchkey::door {
namespace {

constexpr int kTurnsAtOnce = 8;
constexpr Micros kFarewell = from_seconds(1);

Failure gone() {
    return fail(Code::kUnavailable, "the peer is gone");
}

} // namespace

Result<std::unique_ptr<Transport>> Transport::accept(ssh_bind bind, UniqueFd socket, int stop_fd,
                                                     Options options) {
    SessionHandle session(ssh_new());
    if (!session) return fail(Code::kInternal, "libssh is out of memory");
    if (ssh_bind_accept_fd(bind, session.get(), socket.get()) != SSH_OK) {
        return fail(Code::kUnavailable, "libssh does not take the connection");
    }
    (void)socket.release(); // the session closes it
    std::unique_ptr<Transport> transport(new Transport(std::move(session), stop_fd, options));
    ssh_session const raw = transport->session_.get();
    ssh_set_blocking(raw, 0);
    ssh_set_counters(raw, nullptr, &transport->counters_);
    ssh_set_auth_methods(raw, SSH_AUTH_METHOD_PUBLICKEY);
    if (ssh_handle_key_exchange(raw) == SSH_ERROR) return gone();
    transport->event_.reset(ssh_event_new());
    if (!transport->event_ || ssh_event_add_session(transport->event_.get(), raw) != SSH_OK) {
        return fail(Code::kInternal, "libssh is out of memory");
    }
    return transport;
}

Transport::~Transport() {
    waiting_.clear(); // messages point into the session
    if (event_) ssh_event_remove_session(event_.get(), session_.get());
}

bool Transport::is_gone() const {
    return is_down_ || (ssh_get_status(session_.get()) & (SSH_CLOSED | SSH_CLOSED_ERROR)) != 0 ||
           ssh_get_fd(session_.get()) < 0;
}

Status Transport::turn_crank() {
    const ssh_counter_struct before = counters_;
    const std::size_t waiting_before = waiting_.size();
    for (int i = 0; i < kTurnsAtOnce; ++i) {
        const int turned = ssh_event_dopoll(event_.get(), 0);
        if (turned == SSH_ERROR || is_gone()) {
            is_down_ = true;
            break;
        }
        if (turned == SSH_AGAIN) break;
    }
    while (!is_down_) {
        MessageHandle message(ssh_message_get(session_.get()));
        if (!message) break;
        waiting_.push_back(std::move(message));
        if (waiting_.size() > kMaxWaitingMessages) {
            return fail(Code::kTooLarge, "too many requests at once", "wait for the answers");
        }
    }
    if (is_gone()) return gone();
    const bool has_request = waiting_.size() > waiting_before;
    if (!watches_swallowed_) return {};
    if (has_request) {
        has_swallowed_ = false;
    } else if (counters_.in_packets != before.in_packets && counters_.out_packets == before.out_packets) {
        has_swallowed_ = true;
        if (++swallowed_ > options_.max_swallowed) {
            return fail(Code::kMalformed, "too many requests that cannot be answered");
        }
    }
    return {};
}

Status Transport::pump(const posix::Deadline& deadline) {
    if (is_gone()) return gone();
    if (deadline.passed()) return fail(Code::kTimedOut, "time is up"); // also for one who sends bit by bit
    // Not reading while writing is blocked is the back-pressure: a client that never reads gets no more.
    const bool is_blocked = (ssh_get_poll_flags(session_.get()) & SSH_WRITE_PENDING) != 0;
    pollfd entries[2] = {
        {ssh_get_fd(session_.get()), static_cast<short>(is_blocked ? POLLOUT : POLLIN), 0},
        {stop_fd_, POLLIN, 0},
    };
    int millis = deadline.poll_millis();
    const int grace = static_cast<int>(options_.swallow_grace.value / 1000);
    const bool is_grace = has_swallowed_ && grace < millis;
    if (is_grace) millis = grace;
    const int ready = ::poll(entries, 2, millis);
    if (ready < 0) {
        if (errno == EINTR) return {};
        return fail(Code::kIo, "poll failed");
    }
    if (entries[1].revents != 0)
        return fail(Code::kUnavailable, "the broker is shutting down", "try again soon");
    if (ready == 0) {
        if (is_grace) {
            return fail(Code::kMalformed, "a request could not be answered",
                        "use an ed25519, ECDSA, security key or RSA key and a current client");
        }
        return fail(Code::kTimedOut, "time is up");
    }
    return turn_crank();
}

Result<MessageHandle> Transport::next(const posix::Deadline& deadline) {
    // Reading from a channel may have taken requests in: look before waiting.
    if (waiting_.empty()) LK_CHECK(turn_crank());
    while (waiting_.empty()) LK_CHECK(pump(deadline));
    MessageHandle message = std::move(waiting_.front());
    waiting_.pop_front();
    return message;
}

Status Transport::flush(const posix::Deadline& deadline) {
    LK_CHECK(turn_crank());
    while ((ssh_get_poll_flags(session_.get()) & SSH_WRITE_PENDING) != 0) LK_CHECK(pump(deadline));
    return {};
}

void Transport::forget(ssh_channel channel) {
    std::erase_if(waiting_, [&](const MessageHandle& message) {
        return ssh_message_type(message.get()) == SSH_REQUEST_CHANNEL &&
               ssh_message_channel_request_channel(message.get()) == channel;
    });
}

void Transport::banner(const std::string& text) {
    const StringHandle wire(ssh_string_from_char(text.c_str()));
    if (wire && !is_gone()) ssh_send_issue_banner(session_.get(), wire.get());
}

void Transport::disconnect(const std::string& text) {
    // What was written before must have left: libssh closes the socket over its own buffer.
    watches_swallowed_ = false;
    (void)flush(posix::Deadline::after(kFarewell)).has_value();
    if (is_gone()) return;
    ssh_session_set_disconnect_message(session_.get(), text.c_str());
    ssh_disconnect(session_.get());
    is_down_ = true;
}

} // namespace latchkey::door
