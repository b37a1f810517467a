// SPDX-License-Identifier: Apache-2.0
#pragma once
// One agent's TLS connection on the hub's thread: OpenSSL straight on a non-blocking socket, so that an idle
// agent costs what OpenSSL alone costs (RELEASE_BUFFERS) and no copy of a frame is made for each agent. One
// coroutine reads; send() may be called at any time: it writes what the socket takes and queues the rest.
// After close() every wait ends with a failure. Held by shared_ptr: pending waits keep it alive. Include it
// in .cc files only: it brings Asio.

#include <openssl/ssl.h>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <deque>
#include <memory>
#include <optional>

#include "core/base/bytes.h"
#include "core/base/result.h"
#include "core/base/unique_handle.h"
#include "core/keys/tls_identity.h"
#include "core/protocol/frame.h"

namespace latchkey::hub {

namespace asio = boost::asio;
using SharedBytes = std::shared_ptr<const Bytes>;

class TlsConnection : public std::enable_shared_from_this<TlsConnection> {
public:
    TlsConnection(asio::ip::tcp::socket socket, SSL_CTX* context, std::size_t queue_limit);

    // The peer's proven key. kUnauthenticated, kUnavailable.
    asio::awaitable<Result<keys::RawEd25519>> handshake();
    // The next frame. kTooLarge and kMalformed: the caller closes.
    asio::awaitable<Result<protocol::Frame>> read(std::size_t limit);
    // Queues whole frames. Over the queue limit the connection is closed: a slow agent holds nobody up.
    void send(SharedBytes frames);
    // Waits until less than half of the queue limit is waiting; false once closed.
    asio::awaitable<bool> wait_for_room();
    // No more is sent after what is queued; the peer's end, or close(), ends the reading.
    void finish();
    void close();

    bool is_open() const { return is_open_; }
    bool was_too_slow() const { return was_too_slow_; }
    std::uint64_t written_bytes() const { return written_bytes_; } // so far
    std::size_t queued_bytes() const { return queued_bytes_; }

private:
    asio::awaitable<bool> wait(asio::ip::tcp::socket::wait_type type);
    void flush();
    void wake();

    asio::ip::tcp::socket socket_;
    UniqueHandle<SSL, SSL_free> ssl_;
    const std::size_t queue_limit_;
    Bytes inbox_;
    std::deque<SharedBytes> queue_;
    std::size_t queued_bytes_ = 0;
    std::uint64_t written_bytes_ = 0;
    std::size_t front_sent_ = 0;             // of queue_.front()
    std::optional<asio::steady_timer> room_; // somebody waits for room
    bool is_open_ = true;
    bool is_waiting_to_write_ = false;
    bool is_drained_ = false; // the last read took all that was there, it seems
    bool ends_after_queue_ = false;
    bool was_too_slow_ = false;
};

} // namespace latchkey::hub
