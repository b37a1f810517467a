// SPDX-License-Identifier: Apache-2.0
#include "agent/trust/state_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "agent/fixture/folder.h"
#include "agent/fixture/issuer.h"
#include "core/posix/file.h"

namespace latchkey::agent {
namespace {

using fixture::kNow;

using protocol::BrokerAddress;

class State : public ::testing::Test {
protected:
    void SetUp() override { ASSERT_TRUE(state_.make()); }

    BrokerPin pin(const std::string& broker_key_character = "A") const {
        std::string key = "SHA256:";
        for (int i = 0; i < 43; ++i) key += broker_key_character;
        return {{"broker.example.org", 7443}, *Fingerprint::parse(key), {42}, *VmName::parse("web-1")};
    }
    void damage(std::string_view file) const {
        Bytes content = *posix::read_file(folder_ / file);
        content.at(content.size() / 2) ^= 1;
        ASSERT_TRUE(posix::write_file(folder_ / file, content, 0600));
    }
    void tear(std::string_view file) const {
        const auto size = std::filesystem::file_size(folder_ / file);
        std::filesystem::resize_file(folder_ / file, size / 2);
    }
    revocation::RevocationSet one_revocation() const {
        revocation::RevocationSet set;
        EXPECT_TRUE(set.apply({{1}, *revocation::Selector::parse("user", "bob"), kNow, kNow}));
        return set;
    }
    mode_t mode_of(std::string_view file) const {
        struct stat facts {};
        EXPECT_EQ(::stat((folder_ / file).c_str(), &facts), 0);
        return facts.st_mode & 07777;
    }

    fixture::Folder parent_;
    std::filesystem::path folder_ = parent_ / "state";
    StateFolder state_{folder_};
};

TEST_F(State, ComesBackAsWritten) {
    const auto identity = state_.load_or_make_identity();
    ASSERT_TRUE(identity);
    EXPECT_EQ(state_.load_or_make_identity()->public_key(), identity->public_key());
    ASSERT_TRUE(state_.begin_with(pin()));
    EXPECT_EQ(*state_.load_pin(), pin());
    const fixture::Issuer issuer;
    ASSERT_TRUE(state_.save_trust(issuer.trust()));
    EXPECT_EQ(state_.load_trust()->ca_keys, issuer.trust().ca_keys);
    ASSERT_TRUE(state_.save_revocations(one_revocation().encode()));
    EXPECT_EQ(state_.load_revocations()->epoch().value, 1U);
    ASSERT_TRUE(state_.save_sessions(Bytes{1, 2}));
    EXPECT_EQ(*state_.load_sessions(), (Bytes{1, 2}));
}

TEST_F(State, KeepsSessionsWhereTheSocketIsAndReadsThoseOfAnOlderAgentUntilThen) {
    ASSERT_TRUE(std::filesystem::create_directory(parent_ / "run"));
    const StateFolder newer(folder_, parent_ / "run");
    EXPECT_EQ(newer.load_sessions().error().code, Code::kNotFound);
    ASSERT_TRUE(state_.save_sessions(Bytes{1}));
    EXPECT_EQ(*newer.load_sessions(), Bytes{1});
    ASSERT_TRUE(newer.save_sessions(Bytes{2}));
    EXPECT_EQ(*newer.load_sessions(), Bytes{2});
    EXPECT_FALSE(std::filesystem::exists(folder_ / "sessions")) << "an older agent must not take it for new";
    ASSERT_TRUE(state_.save_sessions(Bytes{1}));
    std::filesystem::resize_file(parent_ / "run/sessions", 20);
    EXPECT_EQ(newer.load_sessions().error().code, Code::kTampered) << "torn is not missing";
}

TEST_F(State, RemembersForThisBootThatSessionsAreLost) {
    EXPECT_FALSE(state_.has_lost_sessions());
    ASSERT_TRUE(state_.note_lost_sessions());
    EXPECT_TRUE(state_.has_lost_sessions());
    ASSERT_TRUE(state_.save_sessions(Bytes{1}));
    EXPECT_TRUE(state_.has_lost_sessions()) << "they are in no later list either";
    ASSERT_TRUE(
        posix::write_file(state_.lost_sessions_file(), as_bytes(std::string("another boot\n")), 0600));
    EXPECT_FALSE(state_.has_lost_sessions());
}

TEST_F(State, IsPrivateButForTheListThatPamReads) {
    ASSERT_TRUE(state_.load_or_make_identity());
    ASSERT_TRUE(state_.begin_with(pin()));
    ASSERT_TRUE(state_.save_managed_logins({*Login::parse("deploy")}));
    EXPECT_EQ(mode_of(""), 0755U);
    EXPECT_EQ(mode_of("managed-logins"), 0644U);
    for (const char* file : {"identity", "broker", "trust", "revocations"}) EXPECT_EQ(mode_of(file), 0600U);
}

TEST_F(State, ListsManagedLoginsOneALineBelowItsWritersName) {
    ASSERT_TRUE(state_.save_managed_logins({*Login::parse("backup"), *Login::parse("deploy")}));
    EXPECT_EQ(as_text(*posix::read_file(folder_ / "managed-logins")),
              "# written by latchkey-agent; logins 2; crc32 c016f60a\nbackup\ndeploy\n");
    EXPECT_EQ(state_.load_managed_logins()->size(), 2U);
    ASSERT_TRUE(state_.save_managed_logins({}));
    EXPECT_TRUE(state_.load_managed_logins()->empty());
}

TEST_F(State, ThatIsMissingIsNotFound) {
    EXPECT_EQ(state_.load_pin().error().code, Code::kNotFound);
    EXPECT_EQ(state_.load_trust().error().code, Code::kNotFound);
    EXPECT_EQ(state_.load_revocations().error().code, Code::kNotFound);
    EXPECT_EQ(state_.load_identity().error().code, Code::kNotFound);
    EXPECT_EQ(state_.load_managed_logins().error().code, Code::kNotFound);
}

TEST_F(State, ThatIsAlteredOrTornIsTampered) {
    ASSERT_TRUE(state_.begin_with(pin()));
    ASSERT_TRUE(state_.save_revocations(one_revocation().encode()));
    for (const bool is_torn : {false, true}) {
        for (const char* file : {"broker", "trust", "revocations"}) is_torn ? tear(file) : damage(file);
        EXPECT_EQ(state_.load_pin().error().code, Code::kTampered);
        EXPECT_EQ(state_.load_trust().error().code, Code::kTampered);
        EXPECT_EQ(state_.load_revocations().error().code, Code::kTampered);
        EXPECT_FALSE(state_.load_pin().error().next.empty());
    }
    ASSERT_TRUE(posix::write_file(folder_ / "managed-logins", as_bytes("deploy\n"), 0644));
    EXPECT_EQ(state_.load_managed_logins().error().code, Code::kTampered);
    ASSERT_TRUE(posix::write_file(folder_ / "managed-logins", {}, 0644));
    EXPECT_EQ(state_.load_managed_logins().error().code, Code::kTampered);
}

TEST_F(State, OfOneFileDoesNotPassForAnother) {
    ASSERT_TRUE(state_.begin_with(pin()));
    std::filesystem::copy_file(folder_ / "trust", folder_ / "broker",
                               std::filesystem::copy_options::overwrite_existing);
    EXPECT_EQ(state_.load_pin().error().code, Code::kTampered);
}

TEST_F(State, KeepsTheEpochWhenItJoinsTheSameBrokerAgainButNotAnothers) {
    ASSERT_TRUE(state_.begin_with(pin("A")));
    ASSERT_TRUE(state_.save_revocations(one_revocation().encode()));
    ASSERT_TRUE(state_.begin_with(pin("A")));
    EXPECT_EQ(state_.load_revocations()->epoch().value, 1U);
    ASSERT_TRUE(state_.begin_with(pin("B")));
    EXPECT_EQ(state_.load_revocations()->epoch().value, 0U);
}

TEST_F(State, ThatIsDamagedIsMendedByJoiningAgain) {
    ASSERT_TRUE(state_.begin_with(pin()));
    tear("revocations");
    tear("trust");
    ASSERT_TRUE(state_.begin_with(pin()));
    EXPECT_TRUE(state_.load_revocations());
    EXPECT_TRUE(state_.load_trust());
}

TEST_F(State, HoldsNoKeyThatOthersMayRead) {
    ASSERT_TRUE(state_.load_or_make_identity());
    ::chmod((folder_ / "identity").c_str(), 0644);
    EXPECT_EQ(state_.load_identity().error().code, Code::kRefused);
    const auto open = state_.load_or_make_identity();
    ASSERT_FALSE(open) << "and no new one takes its place in silence";
    EXPECT_THAT(open.error().next, ::testing::HasSubstr("chmod 600"));
}

TEST_F(State, ThatCannotBeWrittenSaysSo) {
    std::filesystem::remove_all(folder_);
    EXPECT_FALSE(state_.save_revocations(one_revocation().encode()));
    EXPECT_FALSE(state_.save_managed_logins({}));
}

TEST_F(State, KeepsWhereBrokersAreUntilAnotherKeyIsPinned) {
    EXPECT_EQ(state_.load_brokers().error().code, Code::kNotFound);
    ASSERT_TRUE(state_.begin_with(pin()));
    const std::vector<BrokerAddress> brokers = {{"b1.example.org", 7443}, {"2001:db8::1", 7443}};
    ASSERT_TRUE(state_.save_brokers(brokers));
    ASSERT_TRUE(state_.begin_with(pin()));
    EXPECT_EQ(*state_.load_brokers(), brokers);
    damage("brokers");
    EXPECT_EQ(state_.load_brokers().error().code, Code::kTampered);
    ASSERT_TRUE(state_.begin_with(pin("B")));
    EXPECT_EQ(state_.load_brokers().error().code, Code::kNotFound);
}

} // namespace
} // namespace latchkey::agent
