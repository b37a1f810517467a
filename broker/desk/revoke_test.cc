// SPDX-License-Identifier: Apache-2.0
#include "broker/desk/desk_fixture.h"

namespace latchkey::desk {
namespace {

TEST_F(DeskRevoke, UserLosesCertificateAndAccountAndTheCountIsShown) {
    fleet_->connect(add_vm("web-1").id);
    open_unlock(bob_);
    out(bob_, "cert");
    const std::string said = out(admin_, "revoke user bob --reason 'laptop stolen'");
    EXPECT_THAT(said, HasSubstr("revoked user bob, epoch 1"));
    EXPECT_THAT(said, HasSubstr("1/1 VMs confirmed in "));
    EXPECT_EQ(run(bob_, "cert"), 1);
    EXPECT_EQ(as_json(admin_, "user show bob")["state"], "locked");
}

TEST_F(DeskRevoke, ExitsWithThreeAndNamesTheVmThatIsAway) {
    fleet_->connect(add_vm("web-1").id);
    add_vm("web-7");
    EXPECT_EQ(run(admin_, "revoke user bob --reason gone"), 3);
    EXPECT_THAT(console_.stdout_text, HasSubstr("1/2 VMs confirmed"));
    EXPECT_THAT(console_.stdout_text,
                HasSubstr("1 unreachable: web-7 (last seen 12 min ago, its grants end in 4 min)"));
    EXPECT_THAT(console_.stderr_text, HasSubstr("look again with: revoke show 1"));
}

TEST_F(DeskRevoke, ExitsWithThreeWhereAConnectedVmKeepsSilent) {
    fleet_->connect(add_vm("web-1").id);
    fleet_->is_silent = true;
    EXPECT_EQ(run(admin_, "revoke user bob --reason gone --wait 1s --json"), 3);
    const json document = json::parse(console_.stdout_text);
    EXPECT_EQ(document["vms_confirmed"], 0);
    EXPECT_EQ(document["vms_missing"], json({"web-1"}));
    EXPECT_EQ(document["epoch"], 1);
}

TEST_F(DeskRevoke, TakesAwayKeyCertificateAndTime) {
    open_unlock(bob_);
    const std::string serial = as_json(bob_, "cert")["serial"];
    out(admin_, "revoke cert " + serial + " --reason lost");
    EXPECT_NE(as_json(bob_, "cert")["serial"], serial);
    out(admin_, "revoke before 2020-01-01T00:00:00Z --reason 'clean slate'");
    out(admin_, "revoke key " + bob_.key.fingerprint.str() + " --reason lost");
    EXPECT_EQ(run(bob_, "whoami"), 1);
    const json list = as_json(admin_, "revoke ls")["revocations"];
    ASSERT_EQ(list.size(), 3U);
    EXPECT_EQ(list[0]["kind"], "key");
    EXPECT_EQ(list[0]["by"], "admin");
    EXPECT_EQ(as_json(admin_, "revoke show 1")["kind"], "cert");
}

TEST_F(DeskRevoke, PeopleTakeAwayWhatIsTheirOwnAndNothingElse) {
    open_unlock(bob_);
    const std::string serial = as_json(bob_, "cert")["serial"];
    out(bob_, "revoke cert " + serial + " --reason copied");
    for (const std::string& what : {std::string("user admin"), std::string("user bob"),
                                    "key " + admin_.key.fingerprint.str(), std::string("before 1h")}) {
        EXPECT_EQ(run(bob_, "revoke " + what + " --reason spite"), 1) << what;
        EXPECT_THAT(console_.stderr_text, HasSubstr("of your own; ask an admin")) << what;
    }
    EXPECT_EQ(as_json(admin_, "revoke ls")["revocations"].size(), 1U);
}

TEST_F(DeskRevoke, TakesAReasonOfSeveralWordsAsSshHandsThemOver) {
    const json document = as_json(admin_, "revoke user bob --reason laptop stolen --wait 1s");
    EXPECT_EQ(document["reason"], "laptop stolen");
    EXPECT_EQ(document["what"], "bob");
}

TEST_F(DeskRevoke, RefusesWhatIsNotThereAndWhatIsNoSelector) {
    EXPECT_EQ(run(admin_, "revoke user nobody --reason gone"), 1);
    EXPECT_EQ(run(admin_, "revoke cert 12345 --reason gone"), 1);
    EXPECT_EQ(run(admin_, "revoke user bob"), 2);
    EXPECT_EQ(run(admin_, "revoke user --reason gone"), 2);
    EXPECT_NE(run(admin_, "revoke planet earth --reason gone"), 0);
    EXPECT_EQ(run(admin_, "revoke user bob --reason ''"), 2);
    EXPECT_EQ(run(admin_, "revoke show 99"), 1);
    EXPECT_EQ(as_json(admin_, "revoke ls")["revocations"].size(), 0U);
}

TEST_F(DeskRevoke, ShowsTheCountAsItGrowsAtATerminal) {
    fleet_->connect(add_vm("web-1").id);
    console_.has_terminal = true;
    out(admin_, "revoke user bob --reason gone");
    EXPECT_THAT(console_.stderr_text, HasSubstr("\r1/1 VMs confirmed in "));
}

} // namespace
} // namespace latchkey::desk
