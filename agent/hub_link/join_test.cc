// SPDX-License-Identifier: Apache-2.0
#include "agent/hub_link/join.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "agent/fixture/folder.h"
#include "agent/fixture/hub.h"

namespace latchkey::agent {
namespace {

using ::testing::HasSubstr;

class JoinTest : public ::testing::Test {
protected:
    // Joins on a thread of its own while `broker` speaks for the hub.
    template <class Broker>
    Result<BrokerPin> join_while(const protocol::JoinToken& token, Broker broker) {
        std::optional<Result<BrokerPin>> result;
        std::thread joiner([&] { result = join(state_, token, wishes_); });
        broker();
        joiner.join();
        return *std::move(result);
    }

    fixture::Folder parent_;
    StateFolder state_{parent_ / "state"};
    fixture::TestHub hub_;
    JoinWishes wishes_{*VmName::parse("web-1"), {{"role", "web"}}};
};

TEST_F(JoinTest, SpendsTheTokenProvesItsKeyAndKeepsThePin) {
    Fingerprint shown;
    const auto pin = join_while(hub_.token(), [&] {
        auto agent = hub_.accept();
        ASSERT_TRUE(agent.is_open());
        shown = agent.peer();
        const auto request = agent.take<protocol::Join>();
        EXPECT_EQ(request.token_id, "token-1");
        EXPECT_EQ(as_text(request.token_secret.view()), "s3cret");
        EXPECT_EQ(request.name.str(), "web-1");
        EXPECT_EQ(request.labels, wishes_.labels);
        protocol::Joined joined;
        joined.vm_id = {77};
        joined.name = *VmName::parse("web-1.example");
        agent.say(joined);
    });
    ASSERT_TRUE(pin) << pin.error().line();
    EXPECT_EQ(pin->vm_id.value, 77U);
    EXPECT_EQ(*state_.load_pin(), *pin);
    EXPECT_EQ(state_.load_pin()->broker_key, hub_.key());
    EXPECT_EQ(state_.load_identity()->public_key().fingerprint(), shown);
    EXPECT_EQ(state_.load_revocations()->epoch().value, 0U);
}

TEST_F(JoinTest, TellsNothingToABrokerOfAnotherKey) {
    protocol::JoinToken token = hub_.token();
    token.broker_key = keys::PrivateKey::generate(keys::KeyType::kEd25519)->public_key().fingerprint();
    const auto pin = join_while(token, [&] {
        auto agent = hub_.accept();
        EXPECT_FALSE(agent.is_open() && agent.next()) << "not one frame";
    });
    ASSERT_FALSE(pin);
    EXPECT_EQ(pin.error().code, Code::kUnauthenticated);
    EXPECT_EQ(state_.load_pin().error().code, Code::kNotFound);
}

TEST_F(JoinTest, SaysWhyTheBrokerRefusesAndKeepsNoPin) {
    const auto pin = join_while(hub_.token(), [&] {
        auto agent = hub_.accept();
        static_cast<void>(agent.take<protocol::Join>());
        protocol::Refused refused;
        refused.code = "conflict";
        refused.message = "the join token is used up";
        refused.next = "ask an admin for a new one: vm token";
        agent.say(refused);
    });
    ASSERT_FALSE(pin);
    EXPECT_EQ(pin.error().code, Code::kRefused);
    EXPECT_EQ(pin.error().line(),
              "the broker refuses: the join token is used up; ask an admin for a new one: vm token");
    EXPECT_EQ(state_.load_pin().error().code, Code::kNotFound);
}

TEST_F(JoinTest, KeepsNothingOfAnAnswerThatIsNoAnswer) {
    const auto cut = join_while(hub_.token(), [&] {
        auto agent = hub_.accept();
        static_cast<void>(agent.take<protocol::Join>());
    });
    EXPECT_EQ(cut.error().code, Code::kUnavailable);
    const auto odd = join_while(hub_.token(), [&] {
        auto agent = hub_.accept();
        static_cast<void>(agent.take<protocol::Join>());
        agent.say(protocol::Heartbeat{});
    });
    EXPECT_EQ(odd.error().code, Code::kMalformed);
    const auto nameless = join_while(hub_.token(), [&] {
        auto agent = hub_.accept();
        static_cast<void>(agent.take<protocol::Join>());
        agent.say(protocol::Joined{});
    });
    EXPECT_FALSE(nameless);
    EXPECT_EQ(state_.load_pin().error().code, Code::kNotFound);
}

TEST_F(JoinTest, LeavesThePamListAsItIsAndTakesANewKeyWhereTheOldOneIsTorn) {
    const auto join_as_77 = [&] {
        return join_while(hub_.token(), [&] {
            auto agent = hub_.accept();
            static_cast<void>(agent.take<protocol::Join>());
            protocol::Joined joined;
            joined.vm_id = {77};
            joined.name = wishes_.name;
            agent.say(joined);
        });
    };
    ASSERT_TRUE(join_as_77());
    EXPECT_TRUE(state_.load_managed_logins()->empty()) << "PAM finds the list of a new VM";
    const auto before = state_.load_identity()->public_key();
    const std::vector<Login> closed = {*Login::parse("deploy")};
    ASSERT_TRUE(state_.save_managed_logins(closed));
    std::filesystem::resize_file(parent_ / "state/identity", 40);
    const auto again = join_as_77();
    ASSERT_TRUE(again) << again.error().line();
    EXPECT_EQ(*state_.load_managed_logins(), closed);
    ASSERT_TRUE(state_.load_identity());
    EXPECT_NE(state_.load_identity()->public_key(), before);
    EXPECT_EQ(std::filesystem::file_size(parent_ / "state/identity.damaged"), 40U);
}

TEST_F(JoinTest, OpensNothingWhereTheKeyIsOpenToOthersOrTheListIsLost) {
    ASSERT_TRUE(state_.make());
    ASSERT_TRUE(state_.load_or_make_identity());
    const std::vector<Login> closed = {*Login::parse("deploy")};
    ASSERT_TRUE(state_.save_managed_logins(closed));
    std::filesystem::permissions(parent_ / "state/identity", std::filesystem::perms(0644));
    const auto open = join(state_, hub_.token(), wishes_);
    ASSERT_FALSE(open);
    EXPECT_THAT(open.error().next, HasSubstr("chmod 600"));
    EXPECT_EQ(*state_.load_managed_logins(), closed);

    std::filesystem::permissions(parent_ / "state/identity", std::filesystem::perms(0600));
    ASSERT_TRUE(state_.begin_with({hub_.address(), hub_.key(), {77}, wishes_.name}));
    std::filesystem::remove(parent_ / "state/managed-logins");
    protocol::JoinToken nobody = hub_.token();
    nobody.broker.port = 1;
    EXPECT_FALSE(join(state_, nobody, wishes_));
    EXPECT_EQ(state_.load_managed_logins().error().code, Code::kNotFound) << "for PAM a damaged folder";
}

TEST_F(JoinTest, SaysThatNobodyListens) {
    protocol::JoinToken token = hub_.token();
    token.broker.port = 1;
    const auto pin = join(state_, token, wishes_);
    ASSERT_FALSE(pin);
    EXPECT_EQ(pin.error().code, Code::kUnavailable);
    EXPECT_THAT(pin.error().message, HasSubstr("127.0.0.1:1"));
}

TEST(Labels, AreKeyAndValue) {
    EXPECT_EQ(parse_label("role=web")->name, "role");
    EXPECT_EQ(parse_label("role=a=b")->value, "a=b");
    EXPECT_FALSE(parse_label("role"));
    EXPECT_FALSE(parse_label("=web"));
}

} // namespace
} // namespace latchkey::agent
