// SPDX-License-Identifier: Apache-2.0
#pragma once
// One SSH connection, server side, in linear style: libssh in non-blocking mode under our own poll, every
// wait with an absolute deadline. Owns session and socket; one thread. Callbacks of libssh are not used:
// requests are taken from its queue, so that whoever answers them may block. Also finds the requests that
// libssh swallows (wrong signature, unknown key type): packets came in, nothing was queued and nothing went
// out.

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>

#include "broker/door/libssh.h"
#include "core/base/clock.h"
#include "core/base/result.h"
#include "core/posix/stream.h"

namespace latchkey::door {

inline constexpr std::size_t kMaxWaitingMessages = 64;

class Transport {
public:
    struct Options {
        Micros swallow_grace = from_seconds(2); // how long a client may be silent after a swallowed request
        unsigned max_swallowed = 8;
    };
    // Sends the banner and starts the key exchange. stop_fd is borrowed: readable means shut down.
    static Result<std::unique_ptr<Transport>> accept(ssh_bind bind, UniqueFd socket, int stop_fd,
                                                     Options options);
    ~Transport();

    // The next request. kTimedOut at the deadline; kUnavailable where the peer or the door goes away;
    // kMalformed after a swallowed request; kTooLarge for a peer that sends more than it lets us answer.
    Result<MessageHandle> next(const posix::Deadline& deadline);
    // Waits for traffic once and keeps what requests came. Errors as next().
    Status pump(const posix::Deadline& deadline);
    // Until all that was written has left. Errors as next().
    Status flush(const posix::Deadline& deadline);
    // Drops the waiting requests of a channel that has ended.
    void forget(ssh_channel channel);

    // Text to a person before they are logged in; stock clients print it on stderr.
    void banner(const std::string& text);
    // Ends the connection with a text that stock clients print.
    void disconnect(const std::string& text);

    void watch_swallowed(bool is_watching) {
        watches_swallowed_ = is_watching;
        has_swallowed_ = false;
    }
    ssh_session session() const { return session_.get(); }
    bool is_gone() const;

private:
    Transport(SessionHandle session, int stop_fd, Options options)
        : options_(options), stop_fd_(stop_fd), session_(std::move(session)) {}
    Status turn_crank();

    const Options options_;
    const int stop_fd_;
    ssh_counter_struct counters_{};
    SessionHandle session_; // before event_: the event must go first
    EventHandle event_;
    std::deque<MessageHandle> waiting_;
    bool watches_swallowed_ = false;
    bool has_swallowed_ = false;
    unsigned swallowed_ = 0;
    bool is_down_ = false;
};

} // namespace latchkey::door
