// SPDX-License-Identifier: Apache-2.0
#include <atomic>
#include <future>

#include "agent/bus/private_bus_for_test.h"
#include "agent/fixture/whole_agent.h"
#include "agent/hub_link/broker_order.h"

namespace latchkey::agent {
namespace {

using fixture::kNow;
using fixture::Running;
using ::testing::HasSubstr;

// The agent and its broker: lost, found again, set back, replaced.
class LinkTest : public fixture::WholeAgent {};

TEST_F(LinkTest, ServesHeldGrantsWithoutABrokerAndComesBack) {
    const Running agent(config_, clock_);
    {
        auto broker = greet();
        broker.say(issuer_.make());
        auto first = std::async(std::launch::async, [this] { return authorize(); });
        EXPECT_EQ(first.get().lines.size(), 1U);
        broker.close();
    }
    auto again = hub_.accept(); // it noticed, and is back
    EXPECT_EQ(authorize().lines.size(), 1U);
    EXPECT_FALSE(status().connected);
    const auto hello = again.take<protocol::Hello>();
    EXPECT_EQ(hello.epoch.value, 0U);
}

TEST_F(LinkTest, RefusesABrokerThatWasSetBackAndTellsItSo) {
    {
        const Running agent(config_, clock_);
        auto broker = greet();
        broker.say(revoke_user(1, "alice"));
        static_cast<void>(broker.take<protocol::Receipt>());
    }
    const Running agent(config_, clock_);
    auto broker = hub_.accept();
    EXPECT_EQ(broker.take<protocol::Hello>().epoch.value, 1U);
    broker.say(welcome(0));
    EXPECT_THAT(broker.take<protocol::Refused>().message, HasSubstr("rollback"));
    EXPECT_FALSE(broker.next()) << "and then it is gone";
    EXPECT_THAT(status().trouble, HasSubstr("rollback"));
    EXPECT_FALSE(status().serving);
    EXPECT_TRUE(authorize().lines.empty());
    // The right broker, once it is back, hears of it.
    auto back = hub_.accept();
    static_cast<void>(back.take<protocol::Hello>());
    back.say(welcome(1));
    EXPECT_EQ(back.take<protocol::Report>().kind, "rollback");
}

TEST_F(LinkTest, LogsWhyABrokerDroppedIt) {
    ::testing::internal::CaptureStderr();
    set_up_log(LogLevel::kInfo, LogStamps::kBySystemd);
    {
        const Running agent(config_, clock_);
        auto broker = hub_.accept();
        static_cast<void>(broker.take<protocol::Hello>());
        protocol::Welcome told = welcome();
        told.extensions.push_back({"dropped", to_bytes(as_bytes("read too slowly"))});
        broker.say(told);
        broker.say(protocol::Revoke{});
        static_cast<void>(broker.take<protocol::Receipt>());
    }
    EXPECT_THAT(::testing::internal::GetCapturedStderr(),
                HasSubstr("was dropped by broker why=read too slowly"));
}

// Moved by the test while the agent reads it.
class MovedClock : public Clock {
public:
    Micros now() const override { return kNow + Micros{passed_.load()}; }
    Micros monotonic() const override { return Micros{1'000'000 + passed_.load()}; }
    void advance(Micros by) { passed_ += by.value; }

private:
    std::atomic<std::int64_t> passed_{0};
};

TEST_F(LinkTest, LeavesAConnectionWhoseWordsAreHeldBackAndServesNothingByIt) {
    MovedClock clock;
    const Running agent(config_, clock);
    auto broker = greet();
    broker.say(issuer_.make());
    EXPECT_EQ(authorize().lines.size(), 1U);
    clock.advance(from_seconds(120)); // asleep, or somebody sits on the bytes
    protocol::Heartbeat old;
    old.time = kNow + from_seconds(5);
    broker.say(old);
    auto again = hub_.accept();
    static_cast<void>(again.take<protocol::Hello>());
    auto waiting = std::async(std::launch::async, [this] { return authorize(); });
    protocol::Welcome words = welcome(1);
    words.time = kNow + from_seconds(120);
    again.say(words);
    again.say(revoke_user(1, "bob"));
    static_cast<void>(again.take<protocol::Receipt>());
    EXPECT_TRUE(waiting.get().lines.empty()) << "what was missed came first";
}

// A VM that is back after most of its grace, hears Welcome and perhaps what it missed, and loses the broker
// again for longer than was left.
class LeaseTest : public LinkTest {
protected:
    static constexpr std::uint32_t kGraceSeconds = 600;
    enum class CatchUp : std::uint8_t { kWhole = 1, kCutShort };

    protocol::Welcome granting(std::uint64_t epoch, std::uint32_t grace_seconds) const {
        protocol::Welcome words = welcome(epoch);
        words.trust.offline_grace_seconds = grace_seconds;
        return words;
    }
    // Online, with a grant, and nothing missed.
    fixture::HubConnection serve(std::uint32_t grace_seconds) {
        auto broker = hub_.accept();
        static_cast<void>(broker.take<protocol::Hello>());
        broker.say(granting(0, grace_seconds));
        broker.say(issuer_.make());
        broker.say(protocol::Revoke{});
        static_cast<void>(broker.take<protocol::Receipt>());
        EXPECT_EQ(authorize().lines.size(), 1U);
        return broker;
    }
    bool serves_without_broker_after(Micros time, MovedClock& clock) {
        hub_.accept().close(); // the loss before it may be taken for a sleep: then whoever asks waits
        const auto there_but_silent = hub_.accept();
        clock.advance(time);
        const bool serves = status().serving;
        EXPECT_EQ(authorize().lines.size(), serves ? 1U : 0U);
        return serves;
    }
    bool serves_after(CatchUp catch_up) {
        MovedClock clock;
        const Running agent(config_, clock);
        serve(kGraceSeconds).close();
        auto second = hub_.accept(); // so the loss is known
        const Micros away = from_seconds(kGraceSeconds - 30);
        clock.advance(away);
        static_cast<void>(second.take<protocol::Hello>());
        protocol::Welcome words = granting(2, kGraceSeconds);
        words.time = kNow + away;
        second.say(words);
        protocol::Revoke missed = revoke_user(1, "alice");
        missed.last = false;
        second.say(missed);
        EXPECT_EQ(second.take<protocol::Receipt>().epoch.value, 1U);
        if (catch_up == CatchUp::kWhole) {
            second.say(revoke_user(2, "carol"));
            EXPECT_EQ(second.take<protocol::Receipt>().epoch.value, 2U);
        }
        second.close();
        return serves_without_broker_after(from_seconds(60), clock);
    }
    bool serves_after_heartbeat_of(std::uint64_t epoch) {
        MovedClock clock;
        const Running agent(config_, clock);
        auto broker = serve(30);
        clock.advance(from_seconds(10));
        protocol::Heartbeat beat;
        beat.time = clock.now();
        beat.epoch = {epoch};
        broker.say(beat);
        broker.say(protocol::SessionEnd{});
        static_cast<void>(broker.take<protocol::SessionEnded>()); // so it has heard the beat
        broker.close();
        return serves_without_broker_after(from_seconds(25), clock);
    }
};

TEST_F(LeaseTest, IsNotRenewedByAWelcomeWhoseRevocationsDidNotAllCome) {
    EXPECT_FALSE(serves_after(CatchUp::kCutShort));
}

TEST_F(LeaseTest, IsRenewedByAWelcomeWhoseRevocationsAllCame) {
    EXPECT_TRUE(serves_after(CatchUp::kWhole));
}

TEST_F(LeaseTest, IsRenewedByAHeartbeatOfItsOwnEpoch) {
    EXPECT_TRUE(serves_after_heartbeat_of(0));
}

TEST_F(LeaseTest, IsNotRenewedByAHeartbeatThatNamesMoreThanIsHere) {
    EXPECT_FALSE(serves_after_heartbeat_of(1));
}

TEST_F(LinkTest, ResyncsOverANewConnectionAndServesOnlyOnceEverythingIsHere) {
    config_.dbus = BusUse::kAuto;
    bus::PrivateBus system_bus;
    system_bus.start();
    const Running agent(config_, clock_);
    auto first = greet();
    first.say(issuer_.make());
    EXPECT_EQ(authorize().lines.size(), 1U);
    EXPECT_EQ(system_bus.call_until_it_answers("Resync"), "");
    auto again = hub_.accept();
    const auto hello = again.take<protocol::Hello>();
    ASSERT_EQ(hello.extensions.size(), 2U); // the other one says which run of the agent it is
    EXPECT_EQ(hello.extensions[0].name, protocol::kResyncExtension);
    protocol::Welcome words = welcome(1);
    words.full = true;
    again.say(words);
    again.say(revoke_user(1, "bob"));
    EXPECT_EQ(again.take<protocol::Receipt>().grants_purged, 1U);
    EXPECT_EQ(status().epoch.value, 1U);
    EXPECT_TRUE(status().serving);
    EXPECT_THAT(system_bus.call_until_it_answers("Resync"), HasSubstr("less than 5 s ago"));
    again.close();
    auto third = hub_.accept();
    EXPECT_EQ(third.take<protocol::Hello>().extensions.size(), 1U) << "asked for once";
}

TEST_F(LinkTest, SaysNothingToABrokerOfAnotherKey) {
    const Fingerprint other = fixture::new_key().public_key().fingerprint();
    ASSERT_TRUE(state_.begin_with({hub_.address(), other, {42}, *VmName::parse("web-1")}));
    const Running agent(config_, clock_);
    for (int attempt = 0; attempt < 2; ++attempt) {
        auto broker = hub_.accept();
        EXPECT_FALSE(broker.is_open() && broker.next());
    }
    EXPECT_THAT(status().trouble, HasSubstr("pinned"));
    EXPECT_TRUE(authorize().lines.empty());
}

TEST_F(LinkTest, FallsOverToAnotherBrokerAndStillKnowsItAfterARestart) {
    std::optional<fixture::TestHub> first(hub_.twin());
    fixture::TestHub second = hub_.twin();
    ASSERT_TRUE(state_.begin_with({first->address(), hub_.key(), {42}, *VmName::parse("web-1")}));
    {
        const Running agent(config_, clock_);
        auto broker = first->accept();
        static_cast<void>(broker.take<protocol::Hello>());
        protocol::Welcome words = welcome();
        protocol::set_brokers(words, {first->address(), second.address()});
        broker.say(words);
        broker.say(revoke_user(1, "alice")); // written behind the list
        static_cast<void>(broker.take<protocol::Receipt>());
        first.reset();
        broker.close();
        auto other = second.accept();
        EXPECT_EQ(other.take<protocol::Hello>().epoch.value, 1U);
        other.say(welcome(1));
        other.say(revoke_user(2, "carol"));
        EXPECT_EQ(other.take<protocol::Receipt>().epoch.value, 2U);
        EXPECT_EQ(status().broker, second.address().text());
    }
    const Running agent(config_, clock_);
    EXPECT_EQ(second.accept().take<protocol::Hello>().epoch.value, 2U);
}

TEST_F(LinkTest, SaysNothingAtAFalseAddressAndGoesOnToTheNext) {
    fixture::TestHub stranger;
    config_.brokers = {stranger.address()};
    BrokerOrder order({42}, {hub_.address(), config_.brokers, {}});
    const Running agent(config_, clock_);
    if (order.current() == hub_.address()) greet().close();
    auto answer = stranger.accept();
    EXPECT_FALSE(answer.is_open() && answer.next());
    const auto broker = greet();
    EXPECT_TRUE(status().connected);
}

TEST_F(LinkTest, TakesNoHeartbeatOfAnOlderEpochForAWordAboutNow) {
    const SystemClock clock;
    const Running agent(config_, clock);
    auto broker = hub_.accept();
    static_cast<void>(broker.take<protocol::Hello>());
    protocol::Welcome words = welcome(1);
    words.time = clock.now();
    words.heartbeat_seconds = 1;
    broker.say(words);
    broker.say(revoke_user(1, "alice"));
    protocol::Heartbeat old;
    while (const auto frame = broker.next()) { // until it leaves
        if (frame->type != protocol::Type::kHeartbeat) continue;
        old.time = clock.now();
        broker.say(old);
    }
    EXPECT_THAT(status().trouble, HasSubstr("heartbeats"));
    EXPECT_EQ(hub_.accept().take<protocol::Hello>().epoch.value, 1U);
}

TEST_F(LinkTest, TellsTheBrokerLaterWhatHappenedWithoutIt) {
    const Running agent(config_, clock_);
    {
        auto broker = greet();
        broker.say(issuer_.make());
        EXPECT_FALSE(run_helper().empty());
        broker.close();
    }
    auto again = hub_.accept();
    EXPECT_EQ(open_session().verdict, protocol::Verdict::kAllow) << "by the grant that it holds";
    static_cast<void>(ask<protocol::Acknowledged>(protocol::SessionClose{})); // while its process lives on
    static_cast<void>(again.take<protocol::Hello>());
    again.say(welcome());
    const auto opened = again.take<protocol::SessionEvent>();
    EXPECT_EQ(opened.phase, protocol::SessionPhase::kOpened);
    ASSERT_EQ(status().sessions.size(), 1U);
    EXPECT_EQ(status().sessions[0].id, opened.session);
}

TEST_F(LinkTest, SaysThatItIsAliveAndLeavesABrokerThatDoesNot) {
    const SystemClock clock;
    const Running agent(config_, clock);
    auto broker = hub_.accept();
    static_cast<void>(broker.take<protocol::Hello>());
    protocol::Welcome words = welcome();
    words.time = clock.now();
    words.heartbeat_seconds = 2;
    broker.say(words);
    EXPECT_EQ(broker.take<protocol::Heartbeat>().epoch.value, 0U);
    auto again = hub_.accept(); // after three periods of silence
    EXPECT_TRUE(again.is_open());
    while (broker.next()) { // and the old connection is gone
    }
    EXPECT_THAT(status().trouble, HasSubstr("heartbeats"));
}

TEST_F(LinkTest, SaysWhatBecameOfASessionThatTheBrokerEnds) {
    const Running agent(config_, clock_);
    auto broker = greet();
    broker.say(issuer_.make());
    EXPECT_FALSE(run_helper().empty());
    EXPECT_EQ(open_session().verdict, protocol::Verdict::kAllow);
    const auto opened = broker.take<protocol::SessionEvent>();
    protocol::SessionEnd end;
    end.session = opened.session + 1;
    broker.say(end);
    auto answer = broker.take<protocol::SessionEnded>();
    EXPECT_EQ(answer.session, end.session);
    EXPECT_EQ(answer.outcome, protocol::SessionOutcome::kWasGone);
    EXPECT_EQ(status().sessions.size(), 1U) << "another session lives on";
    end.session = opened.session;
    broker.say(end);
    answer = broker.take<protocol::SessionEnded>();
    EXPECT_EQ(answer.session, opened.session);
    EXPECT_EQ(answer.outcome, protocol::SessionOutcome::kEnded);
    EXPECT_TRUE(status().sessions.empty());
}

TEST_F(LinkTest, KeepsItsReceiptsOverARestart) {
    const auto kept_at_least = [this](std::size_t count) { // on disk, which nothing tells of
        const auto deadline = posix::Deadline::after(from_seconds(20));
        for (;;) {
            const auto kept = state_.load_receipts();
            if (kept && kept->size() >= count) return kept->size() == count;
            if (deadline.passed()) return false;
            std::this_thread::sleep_for(std::chrono::milliseconds(2));
        }
    };
    for (std::uint64_t epoch = 1; epoch <= 2; ++epoch) {
        const Running agent(config_, clock_);
        auto broker = greet(epoch - 1);
        broker.say(revoke_user(epoch, "alice"));
        EXPECT_EQ(broker.take<protocol::Receipt>().epoch.value, epoch);
        EXPECT_TRUE(kept_at_least(epoch));
    }
    const auto kept = state_.load_receipts();
    ASSERT_TRUE(kept) << kept.error().line();
    for (const protocol::Receipt& receipt : *kept) {
        EXPECT_TRUE(state_.load_identity()->public_key().verify(receipt.signature,
                                                                protocol::receipt_signed_bytes(receipt)));
    }
}

} // namespace
} // namespace latchkey::agent
