// SPDX-License-Identifier: Apache-2.0
#include "agent/run/first_boot.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "agent/fixture/folder.h"
#include "core/posix/file.h"

namespace latchkey::agent {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class FirstBootTest : public ::testing::Test {
protected:
    FirstBootTest() { EXPECT_TRUE(state_.make()); }

    static protocol::JoinToken token(const std::string& id) {
        protocol::JoinToken token;
        token.broker = {"192.0.2.1", 7443};
        token.broker_key = keys::PrivateKey::generate(keys::KeyType::kEd25519)->public_key().fingerprint();
        token.id = id;
        token.secret = SecretBytes(to_bytes(as_bytes("s3cret")));
        return token;
    }

    void put(const std::filesystem::path& path, std::string_view text, mode_t mode = 0600) {
        ASSERT_TRUE(posix::write_file(path, as_bytes(text), mode));
        ASSERT_EQ(::chmod(path.c_str(), mode), 0);
    }
    void put_token(const std::filesystem::path& path, const std::string& id) {
        const protocol::JoinToken made = token(id);
        put(path, *made.encode() + "\n");
    }

    Result<FirstBoot> boot() {
        return first_boot(state_, {parent_ / "credential", parent_ / "join-token"}, world_);
    }

    Result<BrokerPin> join(const protocol::JoinToken& token, const VmName& name) {
        asked_.push_back(token.id + " as " + name.str());
        if (!refusals_.empty()) {
            Error error = refusals_.front();
            refusals_.erase(refusals_.begin());
            return fail(std::move(error));
        }
        BrokerPin pin{token.broker, token.broker_key, {7}, name};
        LK_TRY(identity, state_.load_or_make_identity());
        LK_CHECK(state_.begin_with(pin));
        return pin;
    }

    fixture::Folder parent_;
    StateFolder state_{parent_ / "state"};
    std::vector<Error> refusals_; // what the broker says first
    std::vector<Error> nameless_; // what the host says first
    std::vector<std::string> asked_;
    std::vector<std::int64_t> pauses_; // seconds
    std::vector<std::string> said_;
    FirstBootWorld world_{
        [this]() -> Result<VmName> {
            if (nameless_.empty()) return VmName::parse("web-1");
            nameless_.pop_back();
            return fail(Code::kUnavailable, "no name yet");
        },
        [this](const protocol::JoinToken& token, const VmName& name) { return join(token, name); },
        [this](Micros pause) { pauses_.push_back(pause.seconds()); },
        [this](const std::string& line) { said_.push_back(line); },
    };
};

TEST_F(FirstBootTest, JoinsByTheFileAndTakesItAway) {
    put_token(parent_ / "join-token", "t1");
    const auto done = boot();
    ASSERT_TRUE(done) << done.error().line();
    EXPECT_EQ(*done, FirstBoot::kJoined);
    EXPECT_THAT(asked_, ElementsAre("t1 as web-1"));
    EXPECT_FALSE(std::filesystem::exists(parent_ / "join-token"));
    EXPECT_THAT(pauses_, IsEmpty());
}

TEST_F(FirstBootTest, PrefersTheCredentialAndLeavesIt) {
    put_token(parent_ / "credential", "t1");
    put_token(parent_ / "join-token", "t2");
    EXPECT_EQ(*boot(), FirstBoot::kJoined);
    EXPECT_THAT(asked_, ElementsAre("t1 as web-1"));
    EXPECT_TRUE(std::filesystem::exists(parent_ / "credential"));
}

TEST_F(FirstBootTest, WithoutATokenAsksNobody) {
    EXPECT_EQ(*boot(), FirstBoot::kNoToken);
    EXPECT_THAT(asked_, IsEmpty());
}

TEST_F(FirstBootTest, JoinsOnceAndRemovesWhatIsLeft) {
    put_token(parent_ / "join-token", "t1");
    ASSERT_EQ(*boot(), FirstBoot::kJoined);
    put_token(parent_ / "join-token", "t1");
    EXPECT_EQ(*boot(), FirstBoot::kJoinedBefore);
    EXPECT_THAT(asked_, SizeIs(1));
    EXPECT_FALSE(std::filesystem::exists(parent_ / "join-token"));
}

TEST_F(FirstBootTest, WaitsLongerAndLongerForTheBrokerAndSaysWhyOnce) {
    put_token(parent_ / "join-token", "t1");
    refusals_.assign(9, Error{Code::kUnavailable, "cannot connect", ""});
    ASSERT_EQ(*boot(), FirstBoot::kJoined);
    EXPECT_THAT(pauses_, ElementsAre(1, 2, 4, 8, 16, 32, 60, 60, 60));
    EXPECT_THAT(said_, ElementsAre(HasSubstr("cannot connect"), HasSubstr("vm=web-1")));
}

TEST_F(FirstBootTest, WaitsForAName) {
    put_token(parent_ / "join-token", "t1");
    nameless_.resize(2);
    ASSERT_EQ(*boot(), FirstBoot::kJoined);
    EXPECT_THAT(pauses_, ElementsAre(1, 2));
    EXPECT_THAT(asked_, ElementsAre("t1 as web-1"));
}

TEST_F(FirstBootTest, ARefusalIsFinalAndTheTokenStaysToBeLookedAt) {
    put_token(parent_ / "join-token", "t1");
    refusals_.push_back(
        {Code::kRefused, "the broker refuses: the join token is used up", "ask for a new one"});
    const auto done = boot();
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().line(), "the broker refuses: the join token is used up; ask for a new one");
    EXPECT_THAT(asked_, SizeIs(1));
    EXPECT_THAT(pauses_, IsEmpty());
    EXPECT_TRUE(std::filesystem::exists(parent_ / "join-token"));
}

TEST_F(FirstBootTest, RefusesWhatIsNoTokenOrIsOpenToOthers) {
    put(parent_ / "join-token", "lk1.nonsense\n");
    EXPECT_THAT(boot().error().line(), HasSubstr("holds no join token"));
    put_token(parent_ / "join-token", "t1");
    ASSERT_EQ(::chmod((parent_ / "join-token").c_str(), 0644), 0);
    EXPECT_EQ(boot().error().code, Code::kRefused);
    EXPECT_THAT(asked_, IsEmpty());
}

} // namespace
} // namespace latchkey::agent
