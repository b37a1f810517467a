// SPDX-License-Identifier: Apache-2.0
#include "broker/hub/agent_for_tests.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <openssl/err.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>

#include "core/keys/tls_identity.h"

namespace latchkey::hub {
namespace {

constexpr int kPatienceSeconds = 20;

} // namespace

UniqueFd connect_local(std::uint16_t port, bool small_window) {
    UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const timeval patience{kPatienceSeconds, 0};
    ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    const int window = 4096;
    if (small_window) ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &window, sizeof window);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    return fd;
}

bool is_closed_by_peer(int fd) {
    std::array<char, 256> bytes;
    for (;;) {
        pollfd entry{fd, POLLIN, 0};
        if (::poll(&entry, 1, kPatienceSeconds * 1000) <= 0) return false;
        if (::recv(fd, bytes.data(), bytes.size(), 0) <= 0) return true;
    }
}

TestAgent::TestAgent(std::uint16_t port, const keys::PrivateKey& identity, bool small_window)
    : identity_(identity),
      fd_(connect_local(port, small_window)),
      context_(SSL_CTX_new(TLS_client_method())) {
    const Status configured = keys::configure_tls(context_.get(), keys::TlsSide::kClient, identity);
    EXPECT_TRUE(configured);
    ssl_.reset(SSL_new(context_.get()));
    SSL_set_fd(ssl_.get(), fd_.get());
    is_connected_ = SSL_connect(ssl_.get()) == 1;
    ERR_clear_error();
}

Bytes TestAgent::broker_key() const {
    const auto raw = keys::peer_key(ssl_.get());
    return raw ? to_bytes(*raw) : Bytes();
}

void TestAgent::fail_test(const std::string& why) {
    ADD_FAILURE() << why;
}

void TestAgent::send_raw(ByteView bytes) {
    std::size_t written = 0;
    if (!bytes.empty())
        SSL_write_ex(ssl_.get(), bytes.data(), bytes.size(), &written); // a closed hub shows on reading
    ERR_clear_error();
}

bool TestAgent::read_exactly(std::uint8_t* into, std::size_t size) {
    while (size > 0) {
        std::size_t got = 0;
        ERR_clear_error();
        if (SSL_read_ex(ssl_.get(), into, size, &got) != 1) {
            const int why = SSL_get_error(ssl_.get(), 0);
            ERR_clear_error();
            if (why == SSL_ERROR_WANT_READ) ADD_FAILURE() << "nothing came within the test's patience";
            return false;
        }
        into += got;
        size -= got;
    }
    return true;
}

std::optional<protocol::Frame> TestAgent::receive_any() {
    Bytes whole(4);
    if (!read_exactly(whole.data(), whole.size())) return std::nullopt;
    const auto size = protocol::frame_size(whole, protocol::kHubFrameLimit);
    if (!size || !*size) {
        ADD_FAILURE() << "the hub sent a frame over its limit";
        return std::nullopt;
    }
    whole.resize(**size);
    if (!read_exactly(whole.data() + 4, whole.size() - 4)) return std::nullopt;
    auto frame = protocol::decode_frame(whole);
    return frame ? std::optional(std::move(*frame)) : std::nullopt;
}

std::optional<protocol::Frame> TestAgent::receive() {
    for (;;) {
        auto frame = receive_any();
        const bool is_background =
            frame && (frame->type == protocol::Type::kHeartbeat || frame->type == protocol::Type::kRefresh);
        if (!is_background) return frame;
    }
}

protocol::Frame TestAgent::receive_but_heartbeat() {
    for (;;) {
        auto frame = receive_any();
        if (!frame) return {protocol::Type::kUnsupported, {}};
        if (frame->type != protocol::Type::kHeartbeat) return std::move(*frame);
    }
}

void TestAgent::send_signed(protocol::Receipt receipt) {
    receipt.signature = *identity_.sign(protocol::receipt_signed_bytes(receipt));
    send(receipt);
}

bool TestAgent::receive_up_to(protocol::Type type) {
    for (;;) {
        const auto frame = receive_any();
        if (!frame) return false;
        if (frame->type == type) return true;
    }
}

std::optional<protocol::Heartbeat> TestAgent::receive_heartbeat() {
    for (;;) {
        const auto frame = receive_any();
        if (!frame) return std::nullopt;
        if (frame->type == protocol::Type::kHeartbeat) return decoded<protocol::Heartbeat>(frame);
    }
}

protocol::Revoke TestAgent::receive_last_revoke() {
    for (;;) {
        const auto frame = receive();
        auto revoke = decoded<protocol::Revoke>(frame);
        if (!frame || frame->type != protocol::Type::kRevoke) return revoke;
        caught_up.insert(caught_up.end(), revoke.entries.begin(), revoke.entries.end());
        if (revoke.last) return revoke;
    }
}

protocol::Welcome TestAgent::greet(Epoch epoch) {
    protocol::Hello hello;
    hello.software = "test-agent";
    hello.epoch = epoch;
    if (!instance.empty()) hello.extensions.push_back({"instance", instance});
    send(hello);
    auto welcome = receive<protocol::Welcome>();
    caught_up.clear();
    receive_last_revoke();
    return welcome;
}

protocol::Receipt TestAgent::receipt(Epoch epoch, VmId vm) const {
    protocol::Receipt receipt;
    receipt.epoch = epoch;
    receipt.vm_id = vm;
    receipt.signature = *identity_.sign(protocol::receipt_signed_bytes(receipt));
    return receipt;
}

} // namespace latchkey::hub
