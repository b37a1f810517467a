// SPDX-License-Identifier: Apache-2.0
#pragma once
// One TLS connection to the broker, in frames. connect() ends only after the broker's key was compared with
// the pin: no byte of ours goes to anybody else. One coroutine reads and one writes at a time; each holds the
// stream while it does. Fails with
// kUnavailable (no network), kTimedOut, kUnauthenticated (another key), kMalformed or kTooLarge (then close).
// Include it in .cc files only: it brings Asio.

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <memory>

#include "core/base/clock.h"
#include "core/base/names.h"
#include "core/keys/private_key.h"
#include "core/protocol/frame.h"
#include "core/protocol/join_token.h"

namespace latchkey::agent {

namespace asio = boost::asio;

// What all connections of one identity share, whichever broker they go to: the settings, and the certificate
// over its key, whose signature is then made once.
using TlsContext = std::shared_ptr<asio::ssl::context>;
Result<TlsContext> make_tls_context(const keys::PrivateKey& identity);

class TlsStream {
public:
    static asio::awaitable<Result<std::shared_ptr<TlsStream>>> connect(const protocol::BrokerAddress& broker,
                                                                       const Fingerprint& broker_key,
                                                                       const TlsContext& context,
                                                                       Micros time_limit);

    asio::awaitable<Result<protocol::Frame>> read();
    // As read(), but kTimedOut and closed after time_limit.
    asio::awaitable<Result<protocol::Frame>> read_within(Micros time_limit);
    asio::awaitable<Status> write(Bytes frames); // one or more whole frames
    void close();

    TlsStream(asio::any_io_executor executor, TlsContext context);

private:
    class TimeLimit;
    asio::awaitable<Status> open(const protocol::BrokerAddress& broker, const Fingerprint& broker_key);
    Failure broken(const std::string& what, const boost::system::error_code& error);

    TlsContext context_;
    asio::ssl::stream<asio::ip::tcp::socket> stream_;
    asio::ip::tcp::resolver resolver_;
    bool is_timed_out_ = false;
};

} // namespace latchkey::agent
