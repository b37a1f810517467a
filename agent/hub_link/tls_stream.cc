// SPDX-License-Identifier: Apache-2.0
#include "agent/hub_link/tls_stream.h"

#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <chrono>

#include "core/keys/tls_identity.h"
#include "core/wire/writer.h"

namespace latchkey::agent {
namespace {

constexpr auto kAwait = asio::as_tuple(asio::use_awaitable);
constexpr std::size_t kHeadSize = 4;

Result<Fingerprint> fingerprint_of(const keys::RawEd25519& raw) {
    wire::Writer blob;
    blob.string(keys::type_name(keys::KeyType::kEd25519));
    blob.string(ByteView(raw));
    LK_TRY(key, keys::PublicKey::from_blob(blob.bytes()));
    return key.fingerprint();
}

Status check_pin(ssl_st* connection, const Fingerprint& pinned) {
    LK_TRY(raw, keys::peer_key(connection));
    LK_TRY(found, fingerprint_of(raw));
    if (found == pinned) return {};
    return fail(
        Code::kUnauthenticated,
        "the broker shows the key " + found.str() + ", not " + pinned.str() + " that this VM is pinned to",
        "if the broker's key was really changed, join again with a new token");
}

} // namespace

Result<TlsContext> make_tls_context(const keys::PrivateKey& identity) {
    TlsContext context;
    try {
        context = std::make_shared<asio::ssl::context>(asio::ssl::context::tls_client);
    } catch (const std::exception& problem) {
        return fail(Code::kInternal, std::string("OpenSSL gives no TLS context: ") + problem.what());
    }
    LK_CHECK(keys::configure_tls(context->native_handle(), keys::TlsSide::kClient, identity));
    return context;
}

TlsStream::TlsStream(asio::any_io_executor executor, TlsContext context)
    : context_(std::move(context)), stream_(executor, *context_), resolver_(executor) {}

Failure TlsStream::broken(const std::string& what, const boost::system::error_code& error) {
    if (is_timed_out_) return fail(Code::kTimedOut, what + ": no answer in time");
    return fail(Code::kUnavailable, what + ": " + error.message());
}

// Closes the stream when the time is over; harmless once it is gone itself.
class TlsStream::TimeLimit {
public:
    TimeLimit(TlsStream& stream, const asio::any_io_executor& executor, Micros time_limit)
        : timer_(executor), is_armed_(std::make_shared<bool>(true)) {
        timer_.expires_after(std::chrono::microseconds(time_limit.value));
        timer_.async_wait([&stream, is_armed = is_armed_](const boost::system::error_code& /*unused*/) {
            if (!*is_armed) return;
            stream.is_timed_out_ = true;
            stream.close();
        });
    }
    ~TimeLimit() { *is_armed_ = false; }
    TimeLimit(const TimeLimit&) = delete;
    TimeLimit& operator=(const TimeLimit&) = delete;

private:
    asio::steady_timer timer_;
    std::shared_ptr<bool> is_armed_;
};

asio::awaitable<Result<std::shared_ptr<TlsStream>>> TlsStream::connect(const protocol::BrokerAddress& broker,
                                                                       const Fingerprint& broker_key,
                                                                       const TlsContext& context,
                                                                       Micros time_limit) {
    const auto executor = co_await asio::this_coro::executor;
    auto stream = std::make_shared<TlsStream>(executor, context);
    const TimeLimit limit(*stream, executor, time_limit);
    const Status opened = co_await stream->open(broker, broker_key);
    if (!opened) co_return fail(opened.error());
    co_return stream;
}

asio::awaitable<Status> TlsStream::open(const protocol::BrokerAddress& broker,
                                        const Fingerprint& broker_key) {
    const std::string where = broker.text();
    boost::system::error_code not_literal;
    const auto literal = asio::ip::make_address(broker.host, not_literal);
    if (!not_literal) { // no thread for the resolver
        const auto [error] = co_await stream_.next_layer().async_connect({literal, broker.port}, kAwait);
        if (error) co_return broken("cannot connect to the broker " + where, error);
    } else {
        const auto [lookup_error, endpoints] =
            co_await resolver_.async_resolve(broker.host, std::to_string(broker.port), kAwait);
        if (lookup_error) co_return broken("cannot find the broker " + where, lookup_error);
        const auto [error, endpoint] = co_await asio::async_connect(stream_.next_layer(), endpoints, kAwait);
        if (error) co_return broken("cannot connect to the broker " + where, error);
    }
    boost::system::error_code ignored;
    stream_.next_layer().set_option(asio::ip::tcp::no_delay(true), ignored);
    const auto [tls_error] = co_await stream_.async_handshake(asio::ssl::stream_base::client, kAwait);
    if (tls_error) co_return broken("no TLS with the broker " + where, tls_error);
    co_return check_pin(stream_.native_handle(), broker_key);
}

asio::awaitable<Result<protocol::Frame>> TlsStream::read() {
    Bytes whole(kHeadSize);
    const auto [head_error, head_size] = co_await asio::async_read(stream_, asio::buffer(whole), kAwait);
    if (head_error) co_return broken("the connection to the broker ended", head_error);
    const auto size = protocol::frame_size(whole, protocol::kHubFrameLimit);
    if (!size) co_return fail(size.error());
    whole.resize(**size);
    const auto [error, rest_size] = co_await asio::async_read(
        stream_, asio::buffer(whole.data() + kHeadSize, whole.size() - kHeadSize), kAwait);
    if (error) co_return broken("the connection to the broker ended", error);
    co_return protocol::decode_frame(whole);
}

asio::awaitable<Result<protocol::Frame>> TlsStream::read_within(Micros time_limit) {
    const auto executor = co_await asio::this_coro::executor;
    const TimeLimit limit(*this, executor, time_limit);
    auto frame = co_await read();
    co_return frame;
}

asio::awaitable<Status> TlsStream::write(Bytes frames) {
    const auto [error, size] = co_await asio::async_write(stream_, asio::buffer(frames), kAwait);
    if (error) co_return broken("the connection to the broker ended", error);
    co_return Status();
}

// No TLS goodbye: frames are length-checked, and a cut is noticed by them.
void TlsStream::close() {
    resolver_.cancel();
    boost::system::error_code ignored;
    stream_.next_layer().close(ignored);
}

} // namespace latchkey::agent
