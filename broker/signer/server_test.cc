// SPDX-License-Identifier: Apache-2.0
#include "broker/signer/server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <atomic>

#include <thread>

#include "broker/signer/client.h"
#include "broker/signer/control.h"
#include "core/cert/certificate.h"
#include "core/keys/private_key.h"
#include "core/protocol/signer.h"

namespace latchkey::signer {
namespace {

using ::testing::HasSubstr;

class MemoryCa : public plugin_host::CaSigner {
public:
    Result<std::vector<keys::PublicKey>> public_keys() override { return std::vector{key.public_key()}; }
    Result<Bytes> sign(const keys::PublicKey& /*by*/, ByteView data) override {
        if (is_broken) return fail(Code::kUnavailable, "the token is gone");
        return key.sign(data);
    }
    keys::PrivateKey key = std::move(*keys::PrivateKey::generate(keys::KeyType::kEd25519));
    bool is_broken = false;
};

class SignerServer : public ::testing::Test {
protected:
    void SetUp() override { start({}); }
    void start(Server::Options options) {
        server = std::make_unique<Server>(ca, clock, std::move(options));
        ASSERT_TRUE(server->prepare());
    }
    SignerClient::Connect connector() {
        return [this](const posix::Deadline&) -> Result<posix::Stream> {
            ++connections;
            LK_TRY(pair, make_pair(SOCK_STREAM));
            server->add(std::move(pair.theirs));
            return posix::Stream(std::move(pair.ours));
        };
    }
    Bytes to_be_signed() const {
        cert::Content content;
        content.subject = ca.key.public_key();
        content.serial = {7};
        content.key_id = "bob/7";
        content.principals = {"deploy"};
        content.valid_after = static_cast<std::uint64_t>(clock.now().seconds()) - 60;
        content.valid_before = content.valid_after + 3600;
        return *cert::to_be_signed(content, Bytes(32, 1), ca.key.public_key());
    }

    SystemClock clock;
    MemoryCa ca;
    std::unique_ptr<Server> server;
    std::atomic<int> connections = 0;
};

TEST_F(SignerServer, SignsWhatItsTablePermits) {
    SignerClient client(connector());
    const Bytes bytes = to_be_signed();
    const auto signature = client.sign(bytes);
    ASSERT_TRUE(signature) << signature.error().line();
    EXPECT_TRUE(ca.key.public_key().verify(*signature, bytes));
}

TEST_F(SignerServer, RefusesOpaqueBytesInItsOwnWords) {
    SignerClient client(connector());
    const auto signature = client.sign(as_bytes("SSH-signature of anything"));
    ASSERT_FALSE(signature);
    EXPECT_THAT(signature.error().message, HasSubstr("the signer refuses"));
    EXPECT_TRUE(client.sign(to_be_signed())); // the connection lives on
    EXPECT_EQ(connections, 1);
}

TEST_F(SignerServer, NamesItsKeys) {
    SignerClient client(connector());
    const auto list = client.public_keys();
    ASSERT_TRUE(list);
    EXPECT_THAT(*list, ::testing::ElementsAre(ca.key.public_key()));
}

TEST_F(SignerServer, AnswersUnknownTypesWithUnsupported) {
    const Bytes answer = server->answer({protocol::Type::kHello, {}});
    EXPECT_EQ(answer[4], static_cast<std::uint8_t>(protocol::Type::kUnsupported));
}

TEST_F(SignerServer, ClosesAConnectionWhoseFramesAreTooLarge) {
    auto pair = make_pair(SOCK_STREAM);
    ASSERT_TRUE(pair);
    server->add(std::move(pair->theirs));
    posix::Stream stream(std::move(pair->ours));
    const auto deadline = posix::Deadline::after(from_seconds(10));
    ASSERT_TRUE(stream.send(Bytes{0xff, 0xff, 0xff, 0xff, 80}, deadline));
    EXPECT_EQ(stream.receive(1024, deadline).error().code, Code::kUnavailable);
    EXPECT_TRUE(SignerClient(connector()).public_keys()); // the others are not touched
}

TEST_F(SignerServer, TellsWhatItsPluginCannotDo) {
    ca.is_broken = true;
    const auto signature = SignerClient(connector()).sign(to_be_signed());
    ASSERT_FALSE(signature);
    EXPECT_EQ(signature.error().code, Code::kUnavailable);
}

TEST_F(SignerServer, RefusesOverItsRate) {
    start({.limits = {}, .signatures_per_second = 1, .max_connections = 4, .log = {}});
    SignerClient client(connector());
    EXPECT_TRUE(client.sign(to_be_signed()));
    const auto second = client.sign(to_be_signed());
    ASSERT_FALSE(second);
    EXPECT_THAT(second.error().message, HasSubstr("rate limit"));
    EXPECT_EQ(second.error().code, Code::kUnavailable) << "not now is no no";
}

TEST_F(SignerServer, ServesManyThreadsOverFewConnections) {
    SignerClient client(connector(), {.connections = 2, .deadline = from_seconds(20)});
    const Bytes bytes = to_be_signed();
    std::atomic<int> done = 0;
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; ++i) {
        threads.emplace_back([&] {
            for (int n = 0; n < 20; ++n) done += client.sign(bytes) ? 1 : 0;
        });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(done, 160);
    EXPECT_LE(connections, 2);
}

TEST_F(SignerServer, IsAskedAgainOverAFreshConnectionWhereAnIdleOneBroke) {
    SignerClient client(connector());
    ASSERT_TRUE(client.public_keys());
    start({}); // the old server's end closes its connections
    EXPECT_TRUE(client.public_keys());
    EXPECT_EQ(connections, 2);
}

TEST(SignerClient, SaysWhatToDoWhereNobodyAnswers) {
    SignerClient client(SignerClient::at_socket("/nonexistent/signer.sock"));
    const auto signature = client.sign(as_bytes("x"));
    ASSERT_FALSE(signature);
    EXPECT_EQ(signature.error().code, Code::kUnavailable);
    EXPECT_THAT(signature.error().next, HasSubstr("run:"));
}

TEST(SignerClient, GivesUpAtItsDeadline) {
    auto pair = make_pair(SOCK_STREAM); // nobody serves the other end
    ASSERT_TRUE(pair);
    SignerClient client(
        [&](const posix::Deadline&) { return Result<posix::Stream>(posix::Stream(std::move(pair->ours))); },
        {.connections = 1, .deadline = from_millis(50)});
    EXPECT_EQ(client.public_keys().error().code, Code::kUnavailable);
}

// A signer that hangs, and what it is asked over.
class SilentSigner : public ::testing::Test {
protected:
    SignerClient::Connect connector() {
        return [this](const posix::Deadline&) -> Result<posix::Stream> {
            ++connections_;
            auto pair = make_pair(SOCK_STREAM);
            if (!pair) return fail(pair.error());
            theirs_.push_back(std::move(pair->theirs)); // open, and nobody serves it
            return posix::Stream(std::move(pair->ours));
        };
    }
    int connections_ = 0;
    std::vector<UniqueFd> theirs_;
};

TEST_F(SilentSigner, IsNotWaitedForAgainAtOnce) {
    SignerClient client(connector(),
                        {.connections = 1, .deadline = from_millis(50), .after_silence = from_seconds(3600)});
    EXPECT_EQ(client.public_keys().error().code, Code::kUnavailable);
    const auto next = client.sign(as_bytes("x"));
    ASSERT_FALSE(next);
    EXPECT_EQ(next.error().code, Code::kUnavailable);
    EXPECT_THAT(next.error().message, HasSubstr("just left a request"));
    EXPECT_EQ(connections_, 1) << "it was not asked";
}

TEST_F(SilentSigner, IsAskedAgainAfterAWhile) {
    SignerClient client(connector(),
                        {.connections = 1, .deadline = from_millis(50), .after_silence = Micros{0}});
    EXPECT_FALSE(client.public_keys());
    EXPECT_FALSE(client.public_keys());
    EXPECT_EQ(connections_, 2);
}

} // namespace
} // namespace latchkey::signer
