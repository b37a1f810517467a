// SPDX-License-Identifier: Apache-2.0
// What an agent is told about sudo, by a real hub on a real ledger and a factor of numbered codes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "broker/hub/hub_for_tests.h"
#include "broker/ledger/policy_rows.h"
#include "broker/ledger/vms.h"

namespace latchkey::hub {
namespace {

using ledger::take;
using ledger::Transaction;
using protocol::HubStepUpAnswer;
using protocol::StepUpDecision;
using protocol::SudoRule;
using ::testing::HasSubstr;

// The state is how many codes were taken: "code-0", "code-1", … are good once, in order.
class NumberedCodes : public plugin_host::Factor {
public:
    std::string_view kind() const override { return "totp"; }
    Result<plugin_host::Enrolment> enrol(std::string_view, std::string_view, Micros) override {
        return fail(Code::kUnsupported, "not here");
    }
    Result<std::string> challenge(const SecretBytes&) override { return std::string("Code: "); }
    Result<plugin_host::CheckOutcome> check(const SecretBytes& state, std::string_view answer,
                                            Micros) override {
        const int taken = std::stoi(std::string(as_text(state.view())));
        plugin_host::CheckOutcome outcome;
        outcome.accepted = answer == "code-" + std::to_string(taken);
        const bool was_used = taken > 0 && answer == "code-" + std::to_string(taken - 1);
        outcome.reason = was_used ? "code used before" : "wrong code";
        if (outcome.accepted) outcome.next_state = SecretBytes(as_bytes(std::to_string(taken + 1)));
        return outcome;
    }
};

class SudoAtTheHub : public HubTest {
protected:
    SudoAtTheHub() {
        std::vector<std::unique_ptr<plugin_host::Factor>> plugins;
        plugins.push_back(std::make_unique<NumberedCodes>());
        own_factors_ = std::make_unique<unlock::Factors>(*ledger_, std::move(plugins),
                                                         unlock::Factors::Options{.clock = &clock_});
        factors_ = own_factors_.get();
        start();
        agent_.emplace(connect(web_));
        welcome_ = agent_->greet();
        take(write([&](Transaction& t) -> Status {
            LK_TRY(factor, ledger::add_factor(t, bob_.user.id, "totp", SecretBytes(as_bytes("0")), "admin"));
            return {};
        }));
        session(77, protocol::SessionPhase::kOpened);
    }
    ~SudoAtTheHub() override { hub_.reset(); }

    void session(std::uint64_t id, protocol::SessionPhase phase) {
        protocol::SessionEvent event;
        event.session = id;
        event.phase = phase;
        event.user = bob_.user.name;
        event.login = *Login::parse("deploy");
        event.key = bob_.key.fingerprint;
        event.time = clock_.now();
        agent_->send(event);
    }
    protocol::HubStepUp question(std::string_view code = {}) const {
        protocol::HubStepUp asked;
        asked.request = 5;
        asked.session = 77;
        asked.user = bob_.user.name;
        asked.login = *Login::parse("deploy");
        asked.key = bob_.key.fingerprint;
        asked.code = SecretBytes(as_bytes(code));
        return asked;
    }
    HubStepUpAnswer ask(const protocol::HubStepUp& asked) {
        agent_->send(asked);
        return next_answer(*agent_);
    }
    HubStepUpAnswer ask(std::string_view code = {}) { return ask(question(code)); }
    // Past what a change of policy makes the hub say.
    static HubStepUpAnswer next_answer(TestAgent& agent) {
        for (;;) {
            const auto frame = agent.receive();
            if (!frame) return {};
            if (frame->type == protocol::Type::kHubStepUpAnswer)
                return take(protocol::decode<HubStepUpAnswer>(*frame));
        }
    }

    std::unique_ptr<unlock::Factors> own_factors_;
    Member web_ = add_member("web-1");
    ledger::Person bob_ = add_person("bob");
    std::optional<TestAgent> agent_;
    protocol::Welcome welcome_;
};

TEST_F(SudoAtTheHub, IsAnnouncedToTheAgentAndHeardOfIt) {
    EXPECT_THAT(welcome_.capabilities, ::testing::Contains(protocol::kStepUpCapability));
    EXPECT_FALSE(hub_->has_step_up(web_.vm.id)) << "greet() says nothing of it";
    TestAgent newer = connect(web_);
    protocol::Hello hello;
    hello.capabilities.emplace_back(protocol::kStepUpCapability);
    newer.send(hello);
    EXPECT_TRUE(newer.receive_up_to(protocol::Type::kWelcome));
    EXPECT_TRUE(hub_->has_step_up(web_.vm.id));
}

TEST_F(SudoAtTheHub, IsUnknownToABrokerWithoutFactors) {
    factors_ = nullptr;
    agent_.reset();
    start();
    TestAgent agent = connect(web_);
    EXPECT_TRUE(agent.greet().capabilities.empty());
    agent.send(question());
    EXPECT_TRUE(agent.receive_up_to(protocol::Type::kUnsupported));
}

TEST_F(SudoAtTheHub, IsAsPolicySays) {
    EXPECT_EQ(ask().decision, StepUpDecision::kDeny) << "no rule gives that login";
    grant(bob_, "web-*", {"deploy"});
    EXPECT_EQ(ask().decision, StepUpDecision::kUnsaid);
    grant(bob_, "web-*", {"deploy"}, 3600, SudoRule::kFree);
    EXPECT_EQ(ask().decision, StepUpDecision::kAllow);
    grant(bob_, "web-*", {"deploy"}, 3600, SudoRule::kFactor);
    EXPECT_EQ(ask().decision, StepUpDecision::kAsk);
    grant(bob_, "web-*", {"deploy"}, 3600, SudoRule::kDenied);
    const HubStepUpAnswer denied = ask("code-0");
    EXPECT_EQ(denied.decision, StepUpDecision::kDeny);
    EXPECT_EQ(denied.request, 5u);
    EXPECT_THAT(denied.reason, HasSubstr("allows no sudo"));
    EXPECT_EQ(audit_count("sudo.deny"), 2u);
    EXPECT_EQ(audit_count("factor.check"), 0u) << "a code is not looked at where it would not help";
}

TEST_F(SudoAtTheHub, TakesARightCodeOnceAndSaysUntilWhen) {
    grant(bob_, "web-*", {"deploy"}, 3600, SudoRule::kFactor);
    const HubStepUpAnswer accepted = ask("code-0");
    EXPECT_EQ(accepted.decision, StepUpDecision::kAllow);
    EXPECT_EQ(accepted.ends_at, clock_.now() + from_seconds(300));
    EXPECT_EQ(audit_count("sudo.allow"), 1u);
    const HubStepUpAnswer again = ask("code-0");
    EXPECT_EQ(again.decision, StepUpDecision::kAsk);
    EXPECT_THAT(again.reason, HasSubstr("has been used"));
    EXPECT_EQ(audit_count("sudo.allow"), 1u);
}

TEST_F(SudoAtTheHub, LocksAfterFiveWrongCodes) {
    grant(bob_, "web-*", {"deploy"}, 3600, SudoRule::kFactor);
    for (int i = 0; i < 4; ++i) {
        const HubStepUpAnswer wrong = ask("code-9");
        EXPECT_EQ(wrong.decision, StepUpDecision::kAsk);
        EXPECT_THAT(wrong.reason, HasSubstr("wrong code"));
    }
    EXPECT_EQ(ask("code-9").decision, StepUpDecision::kDeny);
    const HubStepUpAnswer locked = ask("code-0");
    EXPECT_EQ(locked.decision, StepUpDecision::kDeny);
    EXPECT_THAT(locked.reason, HasSubstr("locked for another"));
}

TEST_F(SudoAtTheHub, WantsALiveUnlockAndAnActiveAccount) {
    grant(bob_, "web-*", {"deploy"}, 3600, SudoRule::kFactor);
    take(write([&](Transaction& t) { return ledger::end_unlocks(t, bob_.user.id, "bob"); }));
    const HubStepUpAnswer locked = ask("code-0");
    EXPECT_EQ(locked.decision, StepUpDecision::kDeny);
    EXPECT_THAT(locked.reason, HasSubstr("unlock has ended"));
    take(write([&](Transaction& t) { return ledger::lock_user(t, bob_.user.name, "gone", "admin"); }));
    EXPECT_THAT(ask("code-0").reason, HasSubstr("locked: gone"));
}

TEST_F(SudoAtTheHub, IsForALiveSessionOfThisVmAlone) {
    grant(bob_, "*", {"deploy", "root"}, 3600, SudoRule::kFree);
    EXPECT_EQ(ask().decision, StepUpDecision::kAllow);
    const auto eve = add_person("eve");
    const Member db = add_member("db-1");
    const auto denied = [&](auto change) {
        protocol::HubStepUp asked = question();
        change(asked);
        return ask(asked).decision == StepUpDecision::kDeny;
    };
    EXPECT_TRUE(denied([](auto& asked) { asked.session = 78; }));
    EXPECT_TRUE(denied([](auto& asked) { asked.session = 0; }));
    EXPECT_TRUE(denied([](auto& asked) { asked.session = UINT64_MAX; }));
    EXPECT_TRUE(denied([](auto& asked) { asked.login = *Login::parse("root"); }));
    EXPECT_TRUE(denied([&](auto& asked) { asked.user = eve.user.name; }));
    EXPECT_TRUE(denied([&](auto& asked) { asked.key = eve.key.fingerprint; }));
    TestAgent other = connect(db);
    other.greet();
    other.send(question());
    EXPECT_EQ(next_answer(other).decision, StepUpDecision::kDeny);
    session(77, protocol::SessionPhase::kClosed);
    EXPECT_EQ(ask().decision, StepUpDecision::kDeny);
}

} // namespace
} // namespace latchkey::hub
