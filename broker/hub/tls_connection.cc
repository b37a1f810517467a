// SPDX-License-Identifier: Apache-2.0
#include "broker/hub/tls_connection.h"

#include <openssl/err.h>

#include <algorithm>
#include <array>
#include <boost/asio/post.hpp>

#include "broker/hub/await.h"

namespace latchkey::hub {
namespace {

constexpr std::size_t kChunk = 16 * 1024;
constexpr std::size_t kKeptInbox = 4096; // capacity that an idle connection may hold
constexpr std::size_t kLittle = 4096;    // after which there is hardly more
constexpr int kReadsInARow = 16;         // then the others have their turn

// One buffer for all connections: only the hub's thread reads, and nothing stays in it between two calls.
std::array<std::uint8_t, kChunk>& scratch() {
    static thread_local std::array<std::uint8_t, kChunk> buffer;
    return buffer;
}

Failure ended() {
    return fail(Code::kUnavailable, "the connection ended");
}

} // namespace

TlsConnection::TlsConnection(asio::ip::tcp::socket socket, SSL_CTX* context, std::size_t queue_limit)
    : socket_(std::move(socket)), ssl_(SSL_new(context)), queue_limit_(queue_limit) {
    boost::system::error_code ignored;
    socket_.native_non_blocking(true, ignored);
    socket_.set_option(asio::ip::tcp::no_delay(true), ignored);
    if (!ssl_ || SSL_set_fd(ssl_.get(), socket_.native_handle()) != 1) {
        ERR_clear_error();
        close();
        return;
    }
    SSL_set_accept_state(ssl_.get());
    SSL_set_read_ahead(ssl_.get(), 1); // all that is there in one call, not a head and a body each
    SSL_set_mode(ssl_.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
}

asio::awaitable<bool> TlsConnection::wait(asio::ip::tcp::socket::wait_type type) {
    const auto [error] = co_await socket_.async_wait(type, kAwait);
    co_return !error && is_open_;
}

asio::awaitable<Result<keys::RawEd25519>> TlsConnection::handshake() {
    const auto self = shared_from_this();
    while (is_open_) {
        ERR_clear_error();
        const int done = SSL_accept(ssl_.get());
        if (done == 1) co_return keys::peer_key(ssl_.get());
        const int why = SSL_get_error(ssl_.get(), done);
        ERR_clear_error();
        if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE)
            co_return fail(Code::kUnauthenticated, "no TLS with this peer");
        const bool is_ready = co_await wait(why == SSL_ERROR_WANT_READ ? asio::ip::tcp::socket::wait_read
                                                                       : asio::ip::tcp::socket::wait_write);
        if (!is_ready) break;
    }
    co_return ended();
}

asio::awaitable<Result<protocol::Frame>> TlsConnection::read(std::size_t limit) {
    const auto self = shared_from_this();
    int reads = 0;
    while (is_open_) {
        const auto size = protocol::frame_size(inbox_, limit);
        if (!size) co_return fail(size.error());
        if (*size && inbox_.size() >= **size) {
            auto frame = protocol::decode_frame(ByteView(inbox_).first(**size));
            inbox_.erase(inbox_.begin(), inbox_.begin() + static_cast<std::ptrdiff_t>(**size));
            if (inbox_.empty() && inbox_.capacity() > kKeptInbox) inbox_ = Bytes();
            co_return frame;
        }
        if (!is_drained_) {
            std::size_t got = 0;
            ERR_clear_error();
            const int done = SSL_read_ex(ssl_.get(), scratch().data(), scratch().size(), &got);
            if (done == 1) {
                is_drained_ = got < kLittle && SSL_has_pending(ssl_.get()) == 0;
                inbox_.insert(inbox_.end(), scratch().begin(),
                              scratch().begin() + static_cast<std::ptrdiff_t>(got));
                if (++reads % kReadsInARow == 0)
                    co_await asio::post(socket_.get_executor(), asio::use_awaitable);
                continue;
            }
            const int why = SSL_get_error(ssl_.get(), done);
            ERR_clear_error();
            if (why != SSL_ERROR_WANT_READ) break;
        }
        is_drained_ = false; // the wait ends at once where something has come meanwhile
        if (!queue_.empty() && !is_waiting_to_write_) flush();
        const bool is_ready = co_await wait(asio::ip::tcp::socket::wait_read);
        if (!is_ready) break;
    }
    co_return ended();
}

void TlsConnection::send(SharedBytes frames) {
    if (!is_open_ || ends_after_queue_) return;
    queued_bytes_ += frames->size();
    queue_.push_back(std::move(frames));
    if (!is_waiting_to_write_) flush();
    if (queued_bytes_ > queue_limit_) {
        was_too_slow_ = true;
        close();
    }
}

void TlsConnection::flush() {
    while (is_open_ && !queue_.empty()) {
        const Bytes& front = *queue_.front();
        const std::size_t size = std::min(front.size() - front_sent_, kChunk);
        std::size_t written = 0;
        ERR_clear_error();
        if (SSL_write_ex(ssl_.get(), front.data() + front_sent_, size, &written) == 1) {
            front_sent_ += written;
            queued_bytes_ -= written;
            written_bytes_ += written;
            if (front_sent_ == front.size()) {
                queue_.pop_front();
                front_sent_ = 0;
            }
            continue;
        }
        const int why = SSL_get_error(ssl_.get(), 0);
        ERR_clear_error();
        if (why == SSL_ERROR_WANT_READ) return; // read() comes back here
        if (why != SSL_ERROR_WANT_WRITE) return close();
        is_waiting_to_write_ = true;
        socket_.async_wait(asio::ip::tcp::socket::wait_write,
                           [self = shared_from_this()](const boost::system::error_code& error) {
                               self->is_waiting_to_write_ = false;
                               if (!error) self->flush();
                           });
        break;
    }
    if (queued_bytes_ < queue_limit_ / 2) wake();
    if (is_open_ && queue_.empty() && ends_after_queue_) {
        boost::system::error_code ignored;
        SSL_shutdown(ssl_.get());
        ERR_clear_error();
        socket_.shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
    }
}

void TlsConnection::wake() {
    if (room_) room_->cancel();
}

asio::awaitable<bool> TlsConnection::wait_for_room() {
    const auto self = shared_from_this();
    while (is_open_ && queued_bytes_ >= queue_limit_ / 2) {
        if (!room_) room_.emplace(socket_.get_executor());
        room_->expires_at(asio::steady_timer::time_point::max());
        co_await room_->async_wait(kAwait);
    }
    room_.reset();
    co_return is_open_;
}

void TlsConnection::finish() {
    ends_after_queue_ = true;
    if (!is_waiting_to_write_) flush();
}

void TlsConnection::close() {
    if (!is_open_) return;
    is_open_ = false;
    boost::system::error_code ignored;
    socket_.close(ignored);
    queue_.clear();
    queued_bytes_ = 0;
    wake();
}

} // namespace latchkey::hub
