// SPDX-License-Identifier: Apache-2.0
// Peers that do not play by the rules: each costs itself its connection, and nobody else anything.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

#include "broker/hub/hub_for_tests.h"
#include "broker/ledger/vms.h"
#include "core/protocol/dropped.h"

namespace latchkey::hub {
namespace {

using ledger::take;
using ledger::Transaction;

class Hostile : public HubTest {
protected:
    // The bystander still gets answers.
    void expect_undisturbed() {
        bystander_->send(fetch_of(bob_, "deploy"));
        EXPECT_EQ(bystander_->receive<protocol::Grant>().request, 1u);
    }
    void restart(Settings settings) {
        bystander_.reset();
        start(std::move(settings));
        bystander_ = std::make_unique<TestAgent>(hub_->port(), good_.key);
        bystander_->greet();
    }
    void SetUp() override { restart({}); }
    ~Hostile() override { bystander_.reset(); }

    ledger::Person bob_ = add_person("bob");
    Member good_ = add_member("good-1");
    Member bad_ = add_member("bad-1");
    std::unique_ptr<TestAgent> bystander_;
};

TEST_F(Hostile, AnOversizedFrameClosesItsConnectionOnly) {
    TestAgent agent = connect(bad_);
    agent.greet();
    agent.send_raw(Bytes{0x00, 0x10, 0x00, 0x01, 44});
    EXPECT_TRUE(agent.is_closed());
    expect_undisturbed();
}

TEST_F(Hostile, AnOversizedFirstFrameIsRefusedBeforeWeKnowWhoItIs) {
    const auto key = new_private_key();
    TestAgent agent(hub_->port(), key);
    agent.send_raw(Bytes{0x00, 0x01, 0x00, 0x01, 42});
    EXPECT_TRUE(!agent.receive() || agent.is_closed());
    expect_undisturbed();
}

TEST_F(Hostile, AMalformedMessageClosesItsConnectionOnly) {
    for (const auto type : {protocol::Type::kFetch, protocol::Type::kReceipt, protocol::Type::kSessionEvent,
                            protocol::Type::kHeartbeat}) {
        TestAgent agent = connect(bad_);
        agent.greet();
        agent.send_raw(protocol::encode_frame(type, Bytes{1, 2, 3}));
        EXPECT_TRUE(agent.is_closed()) << static_cast<int>(type);
    }
    expect_undisturbed();
}

TEST_F(Hostile, AMalformedHelloIsRefused) {
    TestAgent agent = connect(bad_);
    agent.send_raw(protocol::encode_frame(protocol::Type::kHello, Bytes{1, 2, 3}));
    EXPECT_EQ(agent.receive<protocol::Refused>().code, info(Code::kMalformed).name);
    EXPECT_TRUE(agent.is_closed());
}

TEST_F(Hostile, AnUnknownTypeIsAnsweredAndTheConnectionLivesOn) {
    TestAgent agent = connect(bad_);
    agent.greet();
    agent.send_raw(protocol::encode_frame(static_cast<protocol::Type>(200), Bytes{1, 2, 3}));
    EXPECT_EQ(agent.receive<protocol::Unsupported>().type, 200);
    agent.send(fetch_of(bob_, "deploy"));
    EXPECT_EQ(agent.receive<protocol::Grant>().request, 1u);
}

TEST_F(Hostile, AnAgentThatRefusesUsIsHeardAndLetGo) {
    TestAgent agent = connect(bad_);
    agent.greet();
    agent.send_raw(
        protocol::encode(protocol::Unsupported())); // answered with silence, or two would never end
    protocol::Refused refused;
    refused.code = info(Code::kConflict).name;
    refused.message = "rollback:\nthe broker is older";
    agent.send(refused);
    EXPECT_TRUE(agent.is_closed());
    EXPECT_TRUE(has_logged("hear refusal vm=bad-1 why=\"rollback:?the broker is older\""));
}

TEST_F(Hostile, WhoClaimsEpochsThatNeverWereFillsNoAudit) {
    for (int i = 0; i < 40; ++i) {
        TestAgent agent = connect(bad_);
        protocol::Hello hello;
        hello.epoch = Epoch{1'000'000};
        agent.send(hello);
        agent.receive<protocol::Refused>();
        EXPECT_TRUE(agent.is_closed());
    }
    EXPECT_GE(audit_count("hub.rollback"), 1u);
    EXPECT_LE(audit_count("hub.rollback"), 30u);
    expect_undisturbed();
}

TEST_F(Hostile, WhoSignsReceiptAfterReceiptFillsTheAuditSlowlyAndHoldsNobodyUp) {
    constexpr std::size_t kAtOnce = 20;
    constexpr std::size_t kSent = 400;
    Settings settings;
    settings.events_at_once = kAtOnce;
    restart(std::move(settings));
    TestAgent agent = connect(bad_);
    agent.greet();
    const Epoch epoch = revoke("user", "bob").revocation.epoch;
    agent.receive<protocol::Revoke>();
    bystander_->receive<protocol::Revoke>();
    const auto began = std::chrono::steady_clock::now();
    auto receipt = agent.receipt(epoch, bad_.vm.id);
    for (std::size_t i = 0; i < kSent; ++i) {
        receipt.trouble = "trouble " + std::to_string(i);
        agent.send_signed(receipt);
    }
    bystander_->send(bystander_->receipt(epoch, good_.vm.id));
    EXPECT_TRUE(eventually([&] {
        const auto count = take(hub_->receipts(epoch));
        return count.confirmed() == 1;
    }));
    // Each one beyond the first few waits for a fiftieth of a second; it was given time enough for all.
    const bool are_all_in = eventually([&] { return audit_count("revocation.receipt") >= kAtOnce; });
    EXPECT_TRUE(are_all_in);
    const auto rows = static_cast<double>(audit_count("revocation.receipt"));
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
    EXPECT_LE(rows, kAtOnce + 1 + took.count() * 50);
}

TEST_F(Hostile, WhoSendsAnEndlessSignatureIsDropped) {
    TestAgent agent = connect(bad_);
    agent.greet();
    auto receipt = agent.receipt(Epoch{0}, bad_.vm.id);
    receipt.signature.resize(129);
    agent.send(receipt);
    EXPECT_TRUE(agent.is_closed());
    EXPECT_TRUE(has_logged("endless signature"));
}

TEST_F(Hostile, WhoDoesNotReadIsDroppedAndHoldsNobodyUp) {
    Settings settings;
    settings.queue_bytes = 256 * 1024;
    restart(std::move(settings));
    TestAgent agent(hub_->port(), bad_.key, true);
    agent.greet();
    const std::string much(50'000, 'x');
    int sent = 0;
    while (hub_->connected(bad_.vm.id) && sent < 4000) {
        EXPECT_FALSE(
            hub_->end_session(bad_.vm.id, 1, much, clock_.monotonic())); // nobody waits for an answer
        if (++sent % 20 == 0) expect_undisturbed();                      // the hub's thread keeps up with us
    }
    EXPECT_TRUE(eventually([&] { return has_logged("too slowly"); }));
    EXPECT_FALSE(hub_->connected(bad_.vm.id));
    expect_undisturbed();

    const auto told_why = [](const protocol::Welcome& welcome) {
        const auto found = std::ranges::find(welcome.extensions, std::string(protocol::kDroppedExtension),
                                             &protocol::Extension::name);
        return found == welcome.extensions.end() ? std::string() : std::string(as_text(found->value));
    };
    TestAgent back = connect(bad_);
    EXPECT_THAT(told_why(back.greet()), testing::HasSubstr("too slowly"));
    back.close();
    TestAgent again = connect(bad_);
    EXPECT_EQ(told_why(again.greet()), "") << "it is told once";
}

TEST_F(Hostile, WhoDoesNotShakeHandsInTimeIsDropped) {
    const UniqueFd silent = connect_local(hub_->port());
    TestAgent wordless = connect(bad_); // TLS is done, but no Hello comes
    clock_.advance(from_seconds(11));
    EXPECT_TRUE(is_closed_by_peer(silent.get()));
    EXPECT_TRUE(wordless.is_closed());
}

TEST_F(Hostile, WhoIsSilentForFourHeartbeatsIsDropped) {
    TestAgent agent = connect(bad_);
    agent.greet();
    clock_.advance(from_millis(81));
    EXPECT_TRUE(agent.is_closed());
}

TEST_F(Hostile, StrangersMayHoldSoManyConnectionsAndTheNextOneWaits) {
    Settings settings;
    settings.max_unauthenticated = 4;
    restart(std::move(settings));
    std::vector<UniqueFd> held;
    for (int i = 0; i < 4; ++i) held.push_back(connect_local(hub_->port()));
    std::atomic<bool> is_in = false;
    std::thread late([&] {
        const TestAgent agent = connect(bad_); // until TLS is done
        is_in = agent.is_connected();
    });
    for (int i = 0; i < 20; ++i) expect_undisturbed(); // who is welcome does not count
    EXPECT_FALSE(is_in);
    held.clear();
    late.join();
    EXPECT_TRUE(is_in) << "it was left in the queue";
}

TEST_F(Hostile, OneAddressMayNotHoldAllOfThem) {
    Settings settings;
    settings.max_unauthenticated_per_address = 2;
    restart(std::move(settings));
    const UniqueFd first = connect_local(hub_->port());
    const UniqueFd second = connect_local(hub_->port());
    const UniqueFd third = connect_local(hub_->port());
    EXPECT_TRUE(is_closed_by_peer(third.get()));
}

TEST_F(Hostile, PlainTextAndHalfAHandshakeCostNothing) {
    {
        const UniqueFd http = connect_local(hub_->port());
        const std::string request = "GET / HTTP/1.1\r\n\r\n";
        EXPECT_GT(::write(http.get(), request.data(), request.size()), 0);
        EXPECT_TRUE(is_closed_by_peer(http.get()));
    }
    connect_local(hub_->port()).reset();
    expect_undisturbed();
}

TEST_F(Hostile, AClockThatIsFarOffIsNotedInTheVmsRow) {
    TestAgent agent = connect(bad_);
    protocol::Hello hello;
    hello.software = "test-agent\n0.1";
    hello.time = clock_.now() + from_seconds(100);
    agent.send(hello);
    agent.receive<protocol::Welcome>();
    EXPECT_TRUE(eventually([&] {
        const auto row = take(read([&](Transaction& t) { return ledger::find_vm(t, bad_.vm.name); }));
        return row && row->clock_offset_micros == 100'000'000 && row->software == "test-agent?0.1";
    }));
}

TEST(HubStart, NamesAnAddressThatDoesNotParse) {
    for (const char* listen : {"", "7443", "host:1", "127.0.0.1:", "127.0.0.1:99999", "127.0.0.1:x"}) {
        struct OnlyStart : HubTest {
            void TestBody() override {}
            Result<std::unique_ptr<Hub>> at(const char* where) {
                Settings settings;
                settings.listen = where;
                return Hub::start({*ledger_, *issuer_, identity_, {}, clock_, {}}, std::move(settings));
            }
        } fixture;
        EXPECT_EQ(ledger::code_of(fixture.at(listen)), Code::kConfig) << listen;
    }
}

} // namespace
} // namespace latchkey::hub
