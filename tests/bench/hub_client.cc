// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/hub_client.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <array>

#include "core/keys/openssl.h"
#include "core/keys/tls_identity.h"
#include "core/protocol/local.h"

namespace latchkey::bench {
namespace {

using AddressHandle = UniqueHandle<addrinfo, freeaddrinfo>;

Result<UniqueFd> connect_tcp(const protocol::BrokerAddress& broker) {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* list = nullptr;
    if (::getaddrinfo(broker.host.c_str(), std::to_string(broker.port).c_str(), &hints, &list) != 0)
        return fail(Code::kUnavailable, "no such address: " + broker.text());
    const AddressHandle owned(list);
    UniqueFd fd(::socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!fd || ::connect(fd.get(), list->ai_addr, list->ai_addrlen) != 0)
        return fail(Code::kUnavailable, "cannot connect to " + broker.text());
    const int on = 1;
    ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

} // namespace

Result<HubClient> HubClient::join(const protocol::JoinToken& token, const VmName& name) {
    LK_TRY(identity, keys::PrivateKey::generate(keys::KeyType::kEd25519));
    LK_TRY(client, connect(std::move(identity), token.broker, token.broker_key));
    LK_CHECK(client.greet(token, name));
    return client;
}

Result<HubClient> HubClient::connect(keys::PrivateKey identity, const protocol::BrokerAddress& broker,
                                     const Fingerprint& broker_key) {
    HubClient client(std::move(identity));
    LK_CHECK(client.shake_hands(broker, broker_key));
    return client;
}

Status HubClient::shake_hands(const protocol::BrokerAddress& broker, const Fingerprint& broker_key) {
    LK_TRY(socket, connect_tcp(broker));
    socket_ = std::move(socket);
    context_.reset(SSL_CTX_new(TLS_client_method()));
    if (!context_) return keys::openssl_failure(Code::kInternal, "no TLS context");
    LK_CHECK(keys::configure_tls(context_.get(), keys::TlsSide::kClient, identity_));
    connection_.reset(SSL_new(context_.get()));
    if (!connection_ || SSL_set_fd(connection_.get(), socket_.get()) != 1 ||
        SSL_connect(connection_.get()) != 1)
        return keys::openssl_failure(Code::kUnavailable, "no TLS with the hub");
    LK_TRY(raw, keys::peer_key(connection_.get()));
    wire::Writer blob;
    blob.string(keys::type_name(keys::KeyType::kEd25519));
    blob.string(ByteView(raw));
    LK_TRY(key, keys::PublicKey::from_blob(blob.bytes()));
    if (key.fingerprint() != broker_key)
        return fail(Code::kUnauthenticated, "the hub has another key than the token says");
    return {};
}

Status HubClient::greet(const protocol::JoinToken& token, const VmName& name) {
    protocol::Join wish;
    wish.token_id = token.id;
    wish.token_secret = token.secret.clone();
    wish.name = name;
    LK_CHECK(send(protocol::encode(wish)));
    LK_TRY(answer, receive());
    LK_TRY(joined, protocol::decode<protocol::Joined>(answer));
    return hello();
}

Status HubClient::hello() {
    protocol::Hello hello;
    hello.software = "latchkey-bench";
    hello.time = SystemClock().now();
    LK_CHECK(send(protocol::encode(hello)));
    LK_TRY(second, receive());
    LK_TRY(welcome, protocol::decode<protocol::Welcome>(second));
    return {};
}

Status HubClient::come_back() {
    LK_CHECK(hello());
    for (;;) {
        LK_TRY(frame, receive());
        if (frame.type != protocol::Type::kRevoke) continue;
        LK_TRY(revoke, protocol::decode<protocol::Revoke>(frame));
        if (revoke.last) return {};
    }
}

Status HubClient::beat() {
    protocol::Heartbeat beat;
    beat.time = SystemClock().now();
    return send(protocol::encode(beat));
}

void HubClient::listen() {
    ::fcntl(socket_.get(), F_SETFL, ::fcntl(socket_.get(), F_GETFL) | O_NONBLOCK);
}

Status HubClient::take_waiting(const std::function<void(const protocol::Frame&)>& take) {
    for (;;) {
        std::array<std::uint8_t, 4096> part;
        const int got = SSL_read(connection_.get(), part.data(), static_cast<int>(part.size()));
        if (got <= 0) {
            const bool is_all = SSL_get_error(connection_.get(), got) == SSL_ERROR_WANT_READ;
            return is_all ? Status()
                          : keys::openssl_failure(Code::kUnavailable, "the hub closed the connection");
        }
        pending_.insert(pending_.end(), part.begin(), part.begin() + got);
        for (;;) {
            LK_TRY(frame, take_frame());
            if (!frame) break;
            take(*frame);
        }
    }
}

Result<protocol::Grant> HubClient::fetch(const Login& login, const Fingerprint& key) {
    protocol::Fetch question;
    question.request = ++last_request_;
    question.login = login;
    question.key = key;
    LK_CHECK(send(protocol::encode(question)));
    for (;;) {
        LK_TRY(frame, receive());
        if (frame.type == protocol::Type::kRefused) {
            LK_TRY(refused, protocol::decode<protocol::Refused>(frame));
            return fail(Code::kRefused, "the hub refuses: " + refused.message);
        }
        if (frame.type != protocol::Type::kGrant) continue;
        LK_TRY(grant, protocol::decode<protocol::Grant>(frame));
        if (grant.request == question.request) return grant;
    }
}

Status HubClient::send(const Bytes& frame) {
    if (SSL_write(connection_.get(), frame.data(), static_cast<int>(frame.size())) > 0) return {};
    return keys::openssl_failure(Code::kUnavailable, "the hub does not take our frame");
}

Result<std::optional<protocol::Frame>> HubClient::take_frame() {
    LK_TRY(size, protocol::frame_size(pending_, protocol::kHubFrameLimit));
    if (!size || pending_.size() < *size) return std::optional<protocol::Frame>();
    LK_TRY(frame, protocol::decode_frame(ByteView(pending_).first(*size)));
    pending_.erase(pending_.begin(), pending_.begin() + static_cast<std::ptrdiff_t>(*size));
    return std::optional(std::move(frame));
}

Result<protocol::Frame> HubClient::receive() {
    for (;;) {
        LK_TRY(frame, take_frame());
        if (frame) return *std::move(frame);
        std::array<std::uint8_t, 16 * 1024> part;
        const int got = SSL_read(connection_.get(), part.data(), static_cast<int>(part.size()));
        if (got <= 0) return keys::openssl_failure(Code::kUnavailable, "the hub closed the connection");
        pending_.insert(pending_.end(), part.begin(), part.begin() + got);
    }
}

} // namespace latchkey::bench
