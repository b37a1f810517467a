// SPDX-License-Identifier: Apache-2.0
// Joining with the stock ssh client: invite, key, first code, recovery codes.
#include <gmock/gmock.h>

#include "broker/door/door_for_tests.h"
#include "broker/ledger/factors.h"
#include "broker/ledger/users.h"

namespace latchkey::door {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class DoorJoin : public DoorTest {
protected:
    DoorJoin() : key_(make_key(folder_, "newkey")) {}

    std::string invite(const std::string& name) {
        return ledger::take(write([&](ledger::Transaction& t) -> Result<std::string> {
            LK_TRY(user, ledger::add_user(t, ledger::user_name(name), name + "@example.org",
                                          ledger::Role::kUser, "test"));
            return ledger::add_invite(t, user.id, t.now + from_seconds(3600), "test");
        }));
    }
    StockSsh::Options joining(std::vector<std::string> answers) const {
        StockSsh::Options options;
        options.user = "join";
        options.port = door_->port();
        options.key = key_;
        options.answers = std::move(answers);
        return options;
    }
    std::string shown_code() { return "@shown " + std::to_string(clock_.now().seconds()); }

    std::filesystem::path key_;
};

TEST_F(DoorJoin, EnrolsKeyAndAuthenticatorAndPrintsRecoveryCodesOnce) {
    const std::string code = invite("carol");
    const Ended done = ssh(joining({code, shown_code()}));
    ASSERT_EQ(done.status, 0) << done.err;
    EXPECT_THAT(done.err, HasSubstr("█")); // the QR code, not escaped
    EXPECT_THAT(done.out, HasSubstr("Recovery codes"));
    EXPECT_THAT(done.out, HasSubstr("carol: unlocked until "));
    StockSsh::Options again = joining({});
    again.user = "carol";
    const Ended login = ssh(again);
    EXPECT_EQ(login.status, 0) << login.err;
    EXPECT_THAT(login.out, Not(HasSubstr("Recovery codes")));
}

TEST_F(DoorJoin, RefusesAWrongInvite) {
    invite("carol");
    const Ended done = ssh(joining({"aaaa-aaaa-aaaa-aaaa", "bbbb-bbbb-bbbb-bbbb", "cccc-cccc-cccc-cccc"}));
    EXPECT_EQ(done.status, 255);
    EXPECT_THAT(done.err, HasSubstr("too many wrong invite codes"));
}

TEST_F(DoorJoin, RefusesAnExpiredInvite) {
    const std::string code = invite("carol");
    clock_.advance(from_seconds(3601));
    const Ended done = ssh(joining({code}));
    EXPECT_EQ(done.status, 255);
    EXPECT_THAT(done.err, HasSubstr("the invite code has expired; ask an admin for a new one"));
}

TEST_F(DoorJoin, RefusesAnInviteUsedBefore) {
    const std::string code = invite("carol");
    ASSERT_EQ(ssh(joining({code, shown_code()})).status, 0);
    StockSsh::Options second = joining({code, shown_code()});
    second.key = make_key(folder_, "second");
    const Ended done = ssh(second);
    EXPECT_EQ(done.status, 255);
    EXPECT_THAT(done.err, HasSubstr("was used before"));
}

TEST_F(DoorJoin, KeepsTheInviteWhereTheFirstCodeNeverFits) {
    const std::string code = invite("carol");
    const Ended failed = ssh(joining({code, "000000", "000001", "000002"}));
    EXPECT_EQ(failed.status, 255);
    EXPECT_THAT(failed.err, HasSubstr("the invite is still good"));
    EXPECT_EQ(ssh(joining({code, "000000", shown_code()})).status, 0);
}

TEST_F(DoorJoin, RefusesAWeakKeyWithItsOwnMessage) {
    StockSsh::Options options = joining({invite("carol"), shown_code()});
    options.key = make_key(folder_, "weak", {"-t", "rsa", "-b", "2048"});
    const Ended done = ssh(options);
    EXPECT_EQ(done.status, 255);
    EXPECT_THAT(done.err, HasSubstr("2048"));
    EXPECT_THAT(done.err, HasSubstr("Permission denied (publickey)"));
}

TEST_F(DoorJoin, RefusesAKeyOfSomebodyElse) {
    const Person bob = add_person("bob");
    StockSsh::Options options = joining({invite("carol"), shown_code()});
    options.key = bob.key;
    const Ended done = ssh(options);
    EXPECT_EQ(done.status, 255);
    EXPECT_THAT(done.err, HasSubstr("registered with another account"));
}

TEST_F(DoorJoin, LetsAPersonJoinAgainAfterAFactorReset) {
    const Person bob = add_person("bob");
    const std::string code = ledger::take(write([&](ledger::Transaction& t) -> Result<std::string> {
        LK_CHECK(ledger::remove_factors(t, bob.member.user.id, "test"));
        return ledger::add_invite(t, bob.member.user.id, t.now + from_seconds(3600), "test");
    }));
    StockSsh::Options options = joining({code, shown_code()});
    options.key = bob.key;
    const Ended done = ssh(options);
    EXPECT_EQ(done.status, 0) << done.err;
}

TEST_F(DoorJoin, GivesTheCertificateAloneOnStdoutWhereACommandIsRunAtOnce) {
    StockSsh::Options options = joining({invite("carol"), shown_code()});
    options.command = "whoami";
    const Ended done = ssh(options);
    EXPECT_EQ(done.status, 0) << done.err;
    EXPECT_THAT(done.err, HasSubstr("Recovery codes"));
    EXPECT_THAT(done.out, Not(HasSubstr("Recovery codes")));
}

} // namespace
} // namespace latchkey::door
