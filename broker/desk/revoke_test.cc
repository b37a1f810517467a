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
    add_vm("web-1");
    EXPECT_EQ(run(bob_, "revoke cert " + serial + " --reason copied"), 3);
    EXPECT_THAT(console_.stdout_text, HasSubstr("0/1 VMs confirmed in "));
    EXPECT_THAT(console_.stdout_text, HasSubstr("; 1 unreachable\n"))
        << "which VMs there are is for auditors";
    for (const std::string& what : {std::string("user admin"), std::string("user bob"),
                                    "key " + admin_.key.fingerprint.str(), std::string("before 1h")}) {
        EXPECT_EQ(run(bob_, "revoke " + what + " --reason spite"), 1) << what;
        EXPECT_THAT(console_.stderr_text, HasSubstr("of your own; ask an admin")) << what;
    }
    EXPECT_EQ(as_json(admin_, "revoke ls")["revocations"].size(), 1U);
}

TEST_F(DeskRevoke, NeverTakesTheLastAdminAway) {
    for (const std::string& what : {std::string("user admin"), "key " + admin_.key.fingerprint.str()}) {
        EXPECT_EQ(run(admin_, "revoke " + what + " --reason stolen"), 1) << what;
        EXPECT_THAT(console_.stderr_text, HasSubstr("no admin with a key would be left")) << what;
    }
    out(admin_, "user add carol --email carol@example.org");
    out(admin_, "user role carol admin");
    EXPECT_EQ(run(admin_, "revoke user admin --reason stolen"), 1) << "has not joined yet";
    const Member alice = add_member("alice", ledger::Role::kAdmin);
    open_unlock(alice);
    out(alice, "user lock admin");
    EXPECT_EQ(run(alice, "revoke user alice --reason stolen"), 1) << "the other one is locked";
    EXPECT_EQ(as_json(alice, "revoke ls")["revocations"].size(), 0U);
    EXPECT_EQ(as_json(alice, "whoami")["role"], "admin");
}

TEST_F(DeskRevoke, LetsAnAdminTakeTheirOwnAccountAwayWhereAnotherIsLeft) {
    const Member alice = add_member("alice", ledger::Role::kAdmin);
    open_unlock(alice);
    out(alice, "revoke user alice --reason stolen");
    EXPECT_EQ(run(alice, "whoami"), 1);
    const Member carol = add_member("carol", ledger::Role::kAdmin);
    open_unlock(carol);
    out(carol, "revoke key " + carol.key.fingerprint.str() + " --reason stolen");
    EXPECT_EQ(run(carol, "whoami"), 1);
    out(admin_, "user unlock alice");
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
    EXPECT_EQ(run(admin_, "revoke ca " + bob_.key.fingerprint.str() + " --reason gone"), 1);
    EXPECT_EQ(run(admin_, "revoke vm web-9 --reason gone"), 1);
    EXPECT_EQ(as_json(admin_, "revoke ls")["revocations"].size(), 0U);
}

TEST_F(DeskRevoke, ShowsTheCountAsItGrowsAtATerminal) {
    fleet_->connect(add_vm("web-1").id);
    console_.has_terminal = true;
    out(admin_, "revoke user bob --reason gone");
    EXPECT_THAT(console_.stdout_text, HasSubstr("\r1/1 VMs confirmed in "));
    EXPECT_THAT(console_.stdout_text, HasSubstr(" \rrevoked user bob, epoch 1\n1/1 VMs confirmed in "));
}

TEST_F(DeskRevoke, SaysOfEachVmWhatItAnswered) {
    fleet_->connect(add_vm("web-1").id);
    fleet_->connect(add_vm("web-2").id);
    fleet_->connect(add_vm("web-3").id);
    add_vm("web-4");
    hub::VmAnswer troubled;
    troubled.answer = hub::Answer::kTrouble;
    troubled.answered_at = clock_.now();
    troubled.sessions_found = 2;
    troubled.sessions_ended = 1;
    troubled.trouble = "session 5 of bob could not be ended";
    fleet_->answers["web-2"] = troubled;
    hub::VmAnswer refused;
    refused.answer = hub::Answer::kRefused;
    fleet_->answers["web-3"] = refused;
    EXPECT_EQ(run(admin_, "revoke user bob --reason gone"), 3);
    EXPECT_THAT(
        console_.stdout_text,
        HasSubstr("; 1 in trouble: web-2 (1 of 2 sessions ended: session 5 of bob could not be ended)"
                  "; 1 too old: web-3 (its agent is too old to understand it, its grants end in 4 min)"
                  "; 1 unreachable: web-4 (last seen 12 min ago, its grants end in 4 min)\n"));
    EXPECT_THAT(
        console_.stderr_text,
        HasSubstr(
            "2 VMs have not confirmed yet, 1 VMs could not do all of it; look again with: revoke show 1"));
    const json shown = as_json(admin_, "revoke show 1");
    EXPECT_EQ(shown["vms_missing"], json({"web-3", "web-4"}));
    EXPECT_EQ(shown["vms_troubled"], json({"web-2"}));
    EXPECT_EQ(shown["unconfirmed"].size(), 3U);
    ASSERT_EQ(shown["vms"].size(), 4U);
    EXPECT_EQ(shown["vms"][0]["state"], "confirmed");
    EXPECT_EQ(shown["vms"][1]["state"], "trouble");
    EXPECT_EQ(shown["vms"][1]["sessions_ended"], 1);
    EXPECT_EQ(shown["vms"][2]["state"], "too-old");
    EXPECT_EQ(shown["vms"][3]["state"], "unreachable");
    EXPECT_NE(shown["vms"][3]["grants_end"], nullptr);
    const std::string text = out(admin_, "revoke show 1");
    EXPECT_THAT(text, HasSubstr("web-4  unreachable"));
    EXPECT_THAT(text, HasSubstr("session 5 of bob could not be ended"));
}

TEST_F(DeskRevoke, SaysThatAVmLeftWhileItWaited) {
    fleet_->connect(add_vm("web-1").id);
    fleet_->is_silent = true;
    fleet_->loses_all = true;
    EXPECT_EQ(run(admin_, "revoke user bob --reason gone"), 3);
    EXPECT_THAT(console_.stdout_text,
                HasSubstr("1 unreachable: web-1 (left while we waited, its grants end in 4 min)"));
}

TEST_F(DeskRevoke, KeepsTheLiveLineOnOneLineAndClearsIt) {
    for (int i = 0; i < 9; ++i) add_vm("a-rather-long-name-" + std::to_string(i));
    fleet_->connect(add_vm("web-1").id);
    console_.has_terminal = true;
    console_.columns = 60;
    EXPECT_EQ(run(admin_, "revoke user bob --reason gone"), 3);
    const std::string live = console_.stdout_text.substr(0, console_.stdout_text.find("revoked user bob"));
    EXPECT_THAT(live, HasSubstr("\r1/10 VMs confirmed in 0.00 s; 9 unreachable"));
    EXPECT_THAT(live, Not(HasSubstr("\n")));
    std::size_t column = 0;
    for (const char c : live) {
        column = c == '\r' ? 0 : column + 1;
        ASSERT_LT(column, 60U) << live;
    }
    EXPECT_EQ(live.back(), '\r') << "the result begins where the line was taken away";
    EXPECT_THAT(console_.stdout_text, HasSubstr("and 4 more"));
}

TEST_F(DeskRevoke, OfAVmRemovesItAsVmRmDoes) {
    add_vm("web-1");
    add_vm("web-2");
    run(admin_, "revoke vm web-1 --reason captured");
    EXPECT_EQ(run(admin_, "vm show web-1"), 1);
    const json removed = as_json(admin_, "vm rm web-2");
    EXPECT_EQ(removed["state"], "removed");
    EXPECT_EQ(removed["epoch"], 2);
    EXPECT_EQ(as_json(admin_, "revoke show 2")["kind"], "vm");
    EXPECT_EQ(run(admin_, "vm rm web-2"), 1);
    EXPECT_EQ(run(admin_, "vm rm web-3"), 1);
    EXPECT_EQ(as_json(admin_, "revoke ls")["revocations"].size(), 2U);
}

TEST_F(DeskRevoke, LocksTheAccountUntilAnAdminUnlocksIt) {
    open_unlock(bob_);
    out(admin_, "revoke user bob --reason 'lost phone'");
    EXPECT_EQ(run(bob_, "whoami"), 1);
    EXPECT_THAT(console_.stderr_text, HasSubstr("account locked"));
    EXPECT_EQ(as_json(admin_, "user show bob")["lock_reason"], "revoked: lost phone");
    out(admin_, "user unlock bob");
    EXPECT_EQ(run(bob_, "whoami"), 0);
    EXPECT_FALSE(as_json(bob_, "status")["unlocked"]) << "the factor is asked anew";
}

TEST_F(DeskRevoke, GivesTheKeysOfVmsAsLinesForVerification) {
    add_vm("web-1");
    add_vm("web-2");
    const std::string lines = out(admin_, "vm keys");
    EXPECT_THAT(lines, ::testing::MatchesRegex("web-1 ssh-ed25519 [^\n]*\nweb-2 ssh-ed25519 [^\n]*\n"));
    EXPECT_EQ("web-1 " + as_json(admin_, "vm keys")["keys"][0]["key"].get<std::string>(),
              lines.substr(0, lines.find('\n')));
    EXPECT_EQ(run(bob_, "vm keys"), 1);
}

} // namespace
} // namespace latchkey::desk
