// SPDX-License-Identifier: Apache-2.0
// The door against the stock ssh client: what a person meets.
#include <gmock/gmock.h>

#include "broker/door/door_for_tests.h"
#include "broker/ledger/policy_rows.h"

namespace latchkey::door {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class DoorLogin : public DoorTest {
protected:
    DoorLogin() : bob_(add_person("bob")) {
        ledger::take(write([&](ledger::Transaction& t) -> Status {
            LK_TRY(group, ledger::add_group(t, ledger::take(GroupName::parse("dev")), "test"));
            LK_CHECK(ledger::join_group(t, group.id, bob_.member.user.id, "test"));
            ledger::Rule rule;
            rule.group = group.id;
            rule.group_name = group.name;
            rule.vm_selector = "*";
            rule.logins = {ledger::take(latchkey::Login::parse("deploy"))};
            LK_TRY(added, ledger::add_rule(t, rule, "test"));
            (void)added;
            return {};
        }));
    }
    StockSsh::Options bob(const std::string& command, std::vector<std::string> answers = {}) const {
        StockSsh::Options options = as(bob_, command);
        options.answers = std::move(answers);
        return options;
    }

    Person bob_;
};

TEST_F(DoorLogin, GivesACertificateForKeyAndRightCode) {
    const Ended done = ssh(bob("cert", {next_code(bob_.member)}));
    EXPECT_EQ(done.status, 0) << done.err;
    EXPECT_THAT(done.out, HasSubstr("ssh-ed25519-cert-v01@openssh.com "));
}

TEST_F(DoorLogin, RefusesAWrongCode) {
    const Ended done = ssh(bob("cert", {"000000", "000001", "000002"}));
    EXPECT_EQ(done.status, 255);
    EXPECT_EQ(done.out, "");
    EXPECT_THAT(done.err, HasSubstr("too many wrong codes"));
}

} // namespace
} // namespace latchkey::door
