// SPDX-License-Identifier: Apache-2.0
// Who may do what, and what the commands of one's own say.
#include <gmock/gmock.h>

#include <fstream>
#include <iterator>
#include <set>

#include "broker/desk/desk_fixture.h"
#include "broker/ledger/audit.h"
#include "core/cert/certificate.h"

namespace latchkey::desk {
namespace {

TEST_F(DeskOwn, GivesExactlyTheCertificateLine) {
    open_unlock(bob_);
    const std::string line = out(bob_, "cert");
    ASSERT_TRUE(line.ends_with("\n"));
    EXPECT_EQ(line.find('\n'), line.size() - 1);
    const auto certificate = ledger::take(cert::Certificate::from_line(line.substr(0, line.size() - 1)));
    EXPECT_EQ(certificate.content().principals, std::vector<std::string>{"deploy"});
    EXPECT_EQ(console_.stderr_text, "");
}

TEST_F(DeskOwn, GivesNoCertificateWithoutUnlock) {
    EXPECT_EQ(run(bob_, "cert"), 1);
    EXPECT_EQ(console_.stdout_text, "");
    EXPECT_THAT(console_.stderr_text, HasSubstr("run: ssh -t -p 2222 bob@broker.example.org cert"));
}

TEST_F(DeskOwn, GivesNoCertificateWhereNothingIsGranted) {
    const Member eve = add_member("eve");
    open_unlock(eve);
    EXPECT_EQ(run(eve, "cert"), 1);
    EXPECT_EQ(console_.stdout_text, "");
}

TEST_F(DeskOwn, SaysThatItCannotAnswerWhereTheSignerIsGone) {
    open_unlock(bob_);
    signer_.is_gone = true;
    EXPECT_EQ(run(bob_, "cert"), 4);
    EXPECT_THAT(console_.stderr_text, HasSubstr("signer"));
}

TEST_F(DeskOwn, AsksForTheFactorInTheChannelAndGoesOn) {
    console_.lines = {next_code(bob_)};
    EXPECT_THAT(out(bob_, "cert"), HasSubstr("cert-v01@openssh.com"));
    EXPECT_EQ(fleet_->prefetches, 1);
}

TEST_F(DeskOwn, RefusesACodeUsedTwice) {
    const std::string code = next_code(bob_);
    console_.lines = {code};
    out(bob_, "cert");
    out(bob_, "lock");
    console_.lines = {code};
    EXPECT_EQ(run(bob_, "cert"), 1);
}

TEST_F(DeskOwn, GivesTheSameCertificateUntilItIsRenewed) {
    open_unlock(bob_);
    const std::string first = out(bob_, "cert");
    EXPECT_EQ(out(bob_, "cert"), first);
    out(bob_, "renew");
    EXPECT_NE(out(bob_, "cert"), first);
}

TEST_F(DeskOwn, ShowsWhatIsOpenAndUntilWhen) {
    json locked = as_json(bob_, "status");
    EXPECT_EQ(locked["unlocked"], false);
    EXPECT_EQ(locked["certificate_serial"], nullptr);
    open_unlock(bob_);
    const json open = as_json(bob_, "status");
    EXPECT_EQ(open["user"], "bob");
    EXPECT_EQ(open["unlocked"], true);
    EXPECT_EQ(open["logins"], json({"deploy"}));
    EXPECT_TRUE(open["certificate_serial"].is_string());
    EXPECT_THAT(out(bob_, "status"), HasSubstr("bob: unlocked until "));
}

TEST_F(DeskOwn, SaysWhyThereIsNoCertificateThoughTheUnlockIsOpen) {
    const Member eve = add_member("eve");
    open_unlock(eve);
    EXPECT_THAT(out(eve, "status"), HasSubstr("no certificate: "));
}

TEST_F(DeskOwn, UnlockAsksAgainWhereTheFactorIsOfAnEarlierLogin) {
    open_unlock(bob_, from_seconds(3600));
    EXPECT_EQ(run(bob_, "unlock"), 1);
    console_.lines = {next_code(bob_)};
    EXPECT_THAT(out(bob_, "unlock"), HasSubstr("unlocked until"));
    EXPECT_THAT(out(bob_, "unlock"), HasSubstr("unlocked until")); // of this login now
}

TEST_F(DeskOwn, LockEndsWhatIsOpen) {
    open_unlock(bob_);
    out(bob_, "lock");
    EXPECT_EQ(run(bob_, "cert"), 1);
}

TEST_F(DeskOwn, SaysWhoOneIs) {
    const json who = as_json(bob_, "whoami");
    EXPECT_EQ(who["user"], "bob");
    EXPECT_EQ(who["groups"], json({"dev"}));
    EXPECT_EQ(who["key"], bob_.key.fingerprint.str());
}

TEST_F(DeskOwn, HelpNamesWhatTheRoleMayDo) {
    EXPECT_THAT(out(bob_, "help"), Not(HasSubstr("user add")));
    EXPECT_THAT(out(admin_, "help"), HasSubstr("user add U --email E"));
    EXPECT_THAT(out(admin_, "help user add"), Not(HasSubstr("vm ls")));
    EXPECT_EQ(run(admin_, "help nonsense"), 2);
}

TEST_F(DeskOwn, EveryCommandHasUsageAndHelp) {
    std::set<std::string_view> words;
    for (const Command* command : all_commands()) {
        EXPECT_TRUE(words.insert(command->words).second) << command->words << " stands twice";
        EXPECT_FALSE(command->says.empty()) << command->words;
        EXPECT_NE(command->run, nullptr) << command->words;
    }
}

TEST_F(DeskOwn, TheDocumentNamesEachCommandWithItsRoleAndFactor) {
    std::ifstream file(LK_DOCS "/commands.md");
    const std::string document{std::istreambuf_iterator<char>(file), {}};
    for (const Command* command : all_commands()) {
        std::string usage =
            std::string(command->words) + (command->usage.empty() ? "" : " ") + std::string(command->usage);
        for (std::size_t at = 0; (at = usage.find('|', at)) != std::string::npos; at += 2)
            usage.insert(at, "\\");
        const char* freshness = command->freshness == Freshness::kNone     ? "-"
                                : command->freshness == Freshness::kAudit  ? "audit"
                                : command->freshness == Freshness::kUnlock ? "unlock"
                                : command->freshness == Freshness::kLogin  ? "login"
                                                                           : "recent";
        EXPECT_THAT(document, HasSubstr("| `" + usage + "` | " + std::string(role_name(command->role)) +
                                        " | " + freshness + " |"));
    }
}

TEST_F(DeskRights, UnknownCommandsGetUsageAndAHint) {
    EXPECT_EQ(run(bob_, "frobnicate"), 2);
    EXPECT_EQ(console_.stderr_text, "no command frobnicate; run: help\n");
    EXPECT_EQ(run(bob_, "user frobnicate"), 2);
    EXPECT_THAT(console_.stderr_text, HasSubstr("there is: user add"));
    EXPECT_EQ(run(bob_, "usr ls"), 2);
    EXPECT_THAT(console_.stderr_text, HasSubstr("there is: user add"));
    EXPECT_EQ(run(bob_, "cert --nonsense"), 2);
    EXPECT_THAT(console_.stderr_text, HasSubstr("unknown flag --nonsense; usage: cert"));
    EXPECT_EQ(run(bob_, "cert 'unfinished"), 2);
    EXPECT_EQ(run(bob_, "vm show"), 2);
    EXPECT_EQ(run(bob_, "vm show a b"), 2);
}

TEST_F(DeskRights, ErrorsAreJsonToo) {
    EXPECT_EQ(run(bob_, "vm show nowhere --json"), 1);
    EXPECT_EQ(json::parse(console_.stdout_text)["error"]["code"], "not-found");
    EXPECT_THAT(console_.stderr_text, HasSubstr("no VM nowhere; see: vm ls"));
}

TEST_F(DeskRights, AdminCommandsAreRefusedToUsersAndAuditors) {
    const Member auditor = add_member("olga", ledger::Role::kAuditor);
    open_unlock(auditor);
    open_unlock(bob_);
    for (const Command* command : all_commands()) {
        if (command->role != ledger::Role::kAdmin) continue;
        for (const Member* member : std::initializer_list<const Member*>{&bob_, &auditor}) {
            EXPECT_EQ(run(*member, std::string(command->words) + " a b c"), 1) << command->words;
            EXPECT_THAT(console_.stderr_text, HasSubstr("is for role admin; ask an admin")) << command->words;
        }
    }
}

TEST_F(DeskRights, AuditorCommandsAreRefusedToUsers) {
    open_unlock(bob_);
    for (const char* line : {"user ls", "user show admin", "key ls --user admin", "factor ls --user admin",
                             "sessions ls --user admin", "audit ls --user admin", "audit verify",
                             "audit export", "revoke ls", "revoke show 1", "explain admin deploy web-1"}) {
        EXPECT_EQ(run(bob_, line), 1) << line;
        EXPECT_THAT(console_.stderr_text, HasSubstr("is for role auditor")) << line;
    }
}

TEST_F(DeskRights, AdminCommandsWantAFactorYoungerThanFifteenMinutes) {
    clock_.advance(from_seconds(15 * 60 + 1));
    EXPECT_EQ(run(admin_, "group add ops"), 1);
    EXPECT_THAT(console_.stderr_text,
                HasSubstr("run: ssh -t -p 2222 admin@broker.example.org group add ops"));
    console_.lines = {next_code(admin_)};
    out(admin_, "group add ops");
    out(admin_, "group add ops2"); // fresh enough now
}

TEST_F(DeskRights, EveryChangeWantsAFreshFactor) {
    const std::set<std::string_view> changes = {"key add",   "key rm", "factor add",
                                                "factor rm", "revoke", "sessions end"};
    for (const Command* command : all_commands()) {
        const bool changes_things =
            command->role == ledger::Role::kAdmin || changes.count(command->words) > 0;
        EXPECT_EQ(command->freshness == Freshness::kRecent, changes_things) << command->words;
    }
}

TEST_F(DeskRights, GivesUpAfterThreeWrongCodesInTheChannel) {
    console_.lines = {"000000", "000001", "000002", next_code(bob_)};
    EXPECT_EQ(run(bob_, "cert"), 1);
    EXPECT_EQ(console_.lines.size(), 1U);
}

TEST_F(DeskRights, ALockedRemovedOrDemotedCallerLosesAtOnce) {
    open_unlock(bob_);
    const Member auditor = add_member("olga", ledger::Role::kAuditor);
    open_unlock(auditor);
    out(auditor, "user ls");
    out(admin_, "user role olga user");
    EXPECT_EQ(run(auditor, "user ls"), 1);
    out(admin_, "user lock bob");
    EXPECT_EQ(run(bob_, "whoami"), 1);
    EXPECT_THAT(console_.stderr_text, HasSubstr("account locked; ask an admin"));
    out(admin_, "user unlock bob");
    out(bob_, "whoami");
    out(admin_, "user rm bob");
    EXPECT_EQ(run(bob_, "whoami"), 1);
}

TEST_F(DeskRights, ARemovedKeyLosesAtOnce) {
    out(admin_, "key rm " + bob_.key.fingerprint.str());
    EXPECT_EQ(run(bob_, "whoami"), 1);
    EXPECT_THAT(console_.stderr_text, HasSubstr("this key was removed"));
}

TEST_F(DeskRights, EachCommandSpeaksJsonWhereItCan) {
    add_vm("web-1");
    open_unlock(bob_);
    for (const char* line :
         {"status", "cert", "renew", "whoami", "help", "vm ls", "vm show web-1", "user show bob", "key ls",
          "factor ls", "group ls", "grant ls", "explain bob deploy web-1", "sessions ls", "audit ls",
          "ca show", "ca pub", "ca krl", "lock"}) {
        EXPECT_FALSE(as_json(bob_, line).is_discarded()) << line << ": " << console_.stdout_text;
    }
    for (const char* line :
         {"user ls", "revoke ls", "audit verify", "vm token", "user add zoe --email z@example.org",
          "user lock zoe", "user unlock zoe", "user role zoe auditor", "factor reset zoe", "group add g",
          "group join g zoe", "group leave g zoe", "user rm zoe", "vm rm web-1"}) {
        EXPECT_FALSE(as_json(admin_, line).is_discarded()) << line << ": " << console_.stdout_text;
    }
}

} // namespace
} // namespace latchkey::desk
