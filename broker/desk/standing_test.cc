// SPDX-License-Identifier: Apache-2.0
// What is judged before a wait is judged again in the change: a prompt may outlive a role, a key, an unlock.
#include "broker/desk/desk_fixture.h"
#include "broker/ledger/factors.h"
#include "broker/ledger/users.h"

namespace latchkey::desk {
namespace {

class DeskStanding : public DeskCommands {
protected:
    // The admin, elsewhere, while somebody's command waits.
    void elsewhere(const std::string& line) {
        CapturedConsole other;
        EXPECT_EQ(desk_->run(caller(admin_), line, other), 0) << line << ": " << other.stderr_text;
    }
    void then_elsewhere(const std::string& line) {
        console_.meanwhile = [this, line] { elsewhere(line); };
    }
    // Answers an enrolment with the first code of what it shows, once `line` has been run elsewhere.
    int add_totp(const Member& member, const std::string& line = "") {
        open_unlock(member);
        console_.lines.clear();
        console_.meanwhile = [this, line] {
            if (!line.empty()) elsewhere(line);
            console_.lines = {totp_code(secret_in(console_.stderr_text), clock_.now())};
        };
        return run(member, "factor add totp");
    }
    int add_key(const Member& member) {
        console_.all_input = ledger::new_public_key().line();
        return run(member, "key add");
    }
    std::size_t factors_of(const Member& member) {
        return ledger::take(
                   read([&](ledger::Transaction& t) { return ledger::factors_of(t, member.user.id); }))
            .size();
    }
    std::size_t keys_of(const Member& member) {
        return ledger::take(read([&](ledger::Transaction& t) { return ledger::keys_of(t, member.user.id); }))
            .size();
    }
    std::string role_of(const Member& member) {
        return as_json(admin_, "user show " + member.user.name.str())["role"];
    }
};

TEST_F(DeskStanding, AnAdminWhoIsDemotedAtThePromptChangesNothing) {
    const Member alice = add_member("alice", ledger::Role::kAdmin);
    open_unlock(alice, from_seconds(3600));
    console_.lines = {next_code(alice)};
    then_elsewhere("user role alice user");
    EXPECT_EQ(run(alice, "user role bob admin"), 1);
    EXPECT_THAT(console_.stderr_text, HasSubstr("your role was changed meanwhile"));
    EXPECT_EQ(role_of(bob_), "user");
}

TEST_F(DeskStanding, AnAdminWhoStaysOneGoesOnAfterThePrompt) {
    const Member alice = add_member("alice", ledger::Role::kAdmin);
    open_unlock(alice, from_seconds(3600));
    console_.lines = {next_code(alice)};
    then_elsewhere("user role bob auditor");
    EXPECT_EQ(run(alice, "user role bob admin"), 0) << console_.stderr_text;
    EXPECT_EQ(role_of(bob_), "admin");
}

TEST_F(DeskStanding, AnAuditorWhoIsDemotedAtThePromptReadsNothing) {
    const Member alice = add_member("alice", ledger::Role::kAuditor);
    console_.lines = {next_code(alice)};
    then_elsewhere("user role alice user");
    EXPECT_EQ(run(alice, "user ls"), 1);
    EXPECT_EQ(console_.stdout_text, "");
}

TEST_F(DeskStanding, AFactorIsKeptAfterAWaitForItsCode) {
    EXPECT_EQ(add_totp(bob_), 0) << console_.stderr_text;
    EXPECT_EQ(factors_of(bob_), 2U);
}

TEST_F(DeskStanding, AFactorIsNotKeptWhereTheFactorsWereResetMeanwhile) {
    EXPECT_EQ(add_totp(bob_, "factor reset bob"), 1);
    EXPECT_THAT(console_.stderr_text, HasSubstr("your unlock ended meanwhile"));
    EXPECT_EQ(factors_of(bob_), 0U);
}

TEST_F(DeskStanding, AFactorIsNotKeptUnderAnUnlockThatItsOwnerOpenedAnewMeanwhile) {
    open_unlock(bob_);
    console_.meanwhile = [this] {
        elsewhere("factor reset bob");
        open_unlock(bob_); // joined again, with the same key
        console_.lines = {totp_code(secret_in(console_.stderr_text), clock_.now())};
    };
    EXPECT_EQ(run(bob_, "factor add totp"), 1);
    EXPECT_EQ(factors_of(bob_), 0U);
}

TEST_F(DeskStanding, AFactorIsNotKeptForARevokedUser) {
    EXPECT_EQ(add_totp(bob_, "revoke user bob --reason stolen"), 1);
    EXPECT_THAT(console_.stderr_text, HasSubstr("account locked"));
    EXPECT_EQ(factors_of(bob_), 1U);
}

TEST_F(DeskStanding, AKeyIsRegisteredAfterAWaitForItsLine) {
    open_unlock(bob_);
    then_elsewhere("group add ops");
    EXPECT_EQ(add_key(bob_), 0) << console_.stderr_text;
    EXPECT_EQ(keys_of(bob_), 2U);
}

TEST_F(DeskStanding, AKeyIsNotRegisteredOverALoginWhoseKeyWasRevokedMeanwhile) {
    open_unlock(bob_);
    then_elsewhere("revoke key " + bob_.key.fingerprint.str() + " --reason stolen");
    EXPECT_EQ(add_key(bob_), 1);
    EXPECT_THAT(console_.stderr_text, HasSubstr("this key was removed"));
    EXPECT_EQ(keys_of(bob_), 0U);
}

TEST_F(DeskStanding, AKeyIsNotRegisteredAfterALock) {
    open_unlock(bob_);
    console_.meanwhile = [this] {
        CapturedConsole other;
        EXPECT_EQ(desk_->run(caller(bob_), "lock", other), 0) << other.stderr_text;
    };
    EXPECT_EQ(add_key(bob_), 1);
    EXPECT_EQ(keys_of(bob_), 1U);
}

TEST_F(DeskStanding, RecoveryCodesAreShownOnceAfterJoining) {
    open_unlock(bob_);
    Caller joined = caller(bob_);
    joined.has_just_joined = true;
    EXPECT_EQ(desk_->run(joined, "", console_), 0) << console_.stderr_text;
    EXPECT_THAT(console_.stdout_text, HasSubstr("You are in, bob"));
    EXPECT_EQ(factors_of(bob_), 2U);
    EXPECT_EQ(desk_->run(joined, "whoami", console_), 0);
    EXPECT_EQ(factors_of(bob_), 2U);
}

TEST_F(DeskStanding, RecoveryCodesAreNotShownOverAConnectionFromBeforeAReset) {
    open_unlock(bob_);
    Caller joined = caller(bob_);
    joined.has_just_joined = true;
    elsewhere("factor reset bob");
    EXPECT_EQ(desk_->run(joined, "whoami", console_), 0);
    EXPECT_EQ(factors_of(bob_), 0U);
    clock_.advance(from_seconds(60));
    open_unlock(bob_); // joined again elsewhere, with the same key
    EXPECT_EQ(desk_->run(joined, "whoami", console_), 0);
    EXPECT_EQ(factors_of(bob_), 0U);
}

TEST_F(DeskStanding, AuditorsReadEverythingUnderALiveUnlockAlone) {
    const Member alice = add_member("alice", ledger::Role::kAuditor);
    add_vm("web-1");
    for (const char* line :
         {"vm ls", "vm show web-1", "vm keys", "user ls", "user show bob", "key ls --user bob", "factor ls",
          "group ls", "grant ls", "explain bob deploy web-1", "revoke ls", "sessions ls", "audit ls",
          "audit verify", "audit export"}) {
        EXPECT_EQ(run(alice, line), 1) << line;
        EXPECT_EQ(console_.stdout_text, "") << line;
    }
    out(alice, "status");
    out(alice, "whoami");
    out(bob_, "vm ls"); // their own, without
    open_unlock(alice);
    out(alice, "user ls");
    out(alice, "audit ls");
    out(alice, "lock");
    EXPECT_EQ(run(alice, "audit ls"), 1);
}

TEST_F(DeskStanding, AKeyWhereACodeIsDueIsNoWrongCode) {
    const std::string line = ledger::new_public_key().line();
    for (int i = 0; i < 6; ++i) { // five wrong codes would block
        console_.lines = {line};
        EXPECT_EQ(run(bob_, "key add"), 1);
        EXPECT_THAT(console_.stderr_text, HasSubstr("the input is a key; run: ssh -t -p 2222 bob@"));
    }
    EXPECT_EQ(keys_of(bob_), 1U);
    console_.lines = {next_code(bob_)};
    EXPECT_EQ(run(bob_, "unlock"), 0) << console_.stderr_text;
}

} // namespace
} // namespace latchkey::desk
