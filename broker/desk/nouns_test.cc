// SPDX-License-Identifier: Apache-2.0
// The nouns: users, keys, factors, groups, grants, VMs, sessions, audit, CA.
#include <sys/stat.h>

#include <algorithm>
#include <fstream>

#include "broker/desk/desk_fixture.h"
#include "broker/desk/krl_check.h"
#include "broker/ledger/audit.h"
#include "broker/ledger/users.h"
#include "broker/ledger/vms.h"
#include "core/protocol/join_token.h"

namespace latchkey::desk {
namespace {

TEST_F(DeskNouns, UserAddPrintsTheInviteAndTheLineToSend) {
    const std::string said = out(admin_, "user add carol --email carol@example.org --group dev");
    EXPECT_THAT(said, ::testing::StartsWith("Invite code: "));
    EXPECT_THAT(said, HasSubstr("ssh -p 2222 join@broker.example.org"));
    const json user = as_json(admin_, "user show carol");
    EXPECT_EQ(user["groups"], json({"dev"}));
    EXPECT_EQ(user["state"], "active");
    EXPECT_EQ(user["role"], "user");
}

TEST_F(DeskNouns, UserAddMakesNothingWhereAPartOfItIsWrong) {
    EXPECT_EQ(run(admin_, "user add carol --email c@example.org --group nogroup"), 1);
    EXPECT_THAT(console_.stderr_text, HasSubstr("no group nogroup"));
    EXPECT_EQ(run(admin_, "user show carol"), 1);
    EXPECT_EQ(run(admin_, "user add carol"), 2);
    EXPECT_EQ(run(admin_, "user add carol --email nonsense"), 2);
    EXPECT_EQ(run(admin_, "user add 'Carol!' --email c@example.org"), 1);
    EXPECT_EQ(run(admin_, "user add join --email c@example.org"), 2);
    EXPECT_EQ(run(admin_, "user add bob --email b@example.org"), 1);
    EXPECT_EQ(as_json(admin_, "user ls")["users"].size(), 2U);
}

TEST_F(DeskNouns, AnAdminDoesNotLockThemselvesOut) {
    for (const char* line : {"user lock admin", "user rm admin", "user role admin user"}) {
        EXPECT_EQ(run(admin_, line), 1) << line;
        EXPECT_THAT(console_.stderr_text, HasSubstr("your own account")) << line;
    }
}

TEST_F(DeskNouns, UsersSeeThemselves) {
    EXPECT_EQ(as_json(bob_, "user show bob")["name"], "bob");
    EXPECT_EQ(run(bob_, "user show admin"), 1);
}

TEST_F(DeskNouns, KeyAddTakesAKeyFromTheInputAndChecksItsStrength) {
    open_unlock(bob_);
    console_.all_input = ledger::new_public_key().line() + " work\n";
    out(bob_, "key add");
    EXPECT_EQ(as_json(bob_, "key ls")["keys"].size(), 2U);
    EXPECT_EQ(run(bob_, "key add"), 1); // registered already
    const auto weak = ledger::take(keys::PrivateKey::generate(keys::KeyType::kRsa, 2048));
    console_.all_input = weak.public_key().line();
    EXPECT_EQ(run(bob_, "key add"), 1);
    EXPECT_THAT(console_.stderr_text, HasSubstr("2048"));
    console_.all_input = "";
    EXPECT_EQ(run(bob_, "key add"), 2);
    EXPECT_THAT(console_.stderr_text, HasSubstr("key add < ~/.ssh/id_ed25519.pub"));
    console_.all_input = "-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n";
    EXPECT_NE(run(bob_, "key add"), 0);
    EXPECT_EQ(console_.stderr_text.find("abc"), std::string::npos);
}

TEST_F(DeskNouns, KeyRmTakesOnesOwnButNotTheLastAndNotAnothers) {
    open_unlock(bob_);
    EXPECT_EQ(run(bob_, "key rm " + bob_.key.fingerprint.str()), 1);
    EXPECT_THAT(console_.stderr_text, HasSubstr("your only key"));
    EXPECT_EQ(run(bob_, "key rm " + admin_.key.fingerprint.str()), 1);
    EXPECT_THAT(console_.stderr_text, HasSubstr("no key "));
    const auto key = ledger::new_public_key();
    console_.all_input = key.line();
    out(bob_, "key add second");
    out(bob_, "key rm " + key.fingerprint().str());
    EXPECT_EQ(as_json(bob_, "key ls")["keys"].size(), 1U);
}

TEST_F(DeskNouns, FactorAddKeepsAFactorOnlyWhereItsFirstCodeFits) {
    open_unlock(bob_);
    console_.lines = {"000000", "000001", "000002"};
    EXPECT_EQ(run(bob_, "factor add totp"), 1);
    EXPECT_EQ(as_json(bob_, "factor ls")["factors"].size(), 1U);
    EXPECT_EQ(run(bob_, "factor add retina"), 1);
    EXPECT_THAT(console_.stderr_text, HasSubstr("kinds: recovery, totp"));
    EXPECT_THAT(out(bob_, "factor add recovery"), HasSubstr("added factor recovery"));
}

TEST_F(DeskNouns, FactorRmLeavesOneThatLogsIn) {
    open_unlock(bob_);
    out(bob_, "factor add recovery");
    const json factors = as_json(bob_, "factor ls")["factors"];
    for (const json& factor : factors) {
        const int status = run(bob_, "factor rm " + factor["id"].get<std::string>());
        EXPECT_EQ(status, factor["kind"] == "totp" ? 1 : 0);
    }
    EXPECT_EQ(run(bob_, "factor rm 12345"), 1);
}

TEST_F(DeskNouns, FactorResetEndsWhatIsOpenAndInvitesAnew) {
    open_unlock(bob_);
    EXPECT_THAT(out(admin_, "factor reset bob"), ::testing::StartsWith("Invite code: "));
    EXPECT_EQ(as_json(admin_, "factor ls --user bob")["factors"].size(), 0U);
    EXPECT_EQ(run(bob_, "cert"), 1);
}

TEST_F(DeskNouns, GrantsAreCheckedBeforeTheyAreKept) {
    const std::size_t before = as_json(admin_, "grant ls")["grants"].size();
    for (const char* line :
         {"grant add --group dev --vm web", "grant add --group nogroup --vm web --login deploy",
          "grant add --group dev --vm web --login 'a b'",
          "grant add --group dev --vm web --login deploy --ttl 10y",
          "grant add --group dev --vm web --login deploy --from nowhere",
          "grant add --group dev --vm web --login deploy --allow everything",
          "grant add --group dev --vm web --login deploy --sudo maybe",
          "grant add --group dev --vm web --login deploy --sudo-grace 5m",
          "grant add --group dev --vm web --login deploy --sudo free --sudo-grace 5m",
          "grant add --group dev --vm web --login deploy --sudo factor --sudo-grace 16m"}) {
        EXPECT_NE(run(admin_, line), 0) << line;
    }
    EXPECT_EQ(as_json(admin_, "grant ls")["grants"].size(), before);
}

TEST_F(DeskNouns, ARestrictionThatIsEmptyMakesNoGrant) {
    const std::size_t before = as_json(admin_, "grant ls")["grants"].size();
    const std::string start = "grant add --group dev --vm web --login deploy ";
    for (const char* flags :
         {"--from=", "--from ''", "--from ,", "--from ' '", "--from 192.0.2.0/24,", "--vm=", "--vm ,env=prod",
          "--login ,", "--allow ,", "--command=", "--command ''",
          "--ttl=", "--sudo=", "--from --verify-required", "--command --verify-required"}) {
        EXPECT_EQ(run(admin_, start + flags), 2) << flags;
    }
    EXPECT_EQ(run(admin_, "grant add --group dev --vm '' --login deploy"), 2);
    EXPECT_EQ(run(admin_, "vm token --name="), 2);
    EXPECT_EQ(as_json(admin_, "grant ls")["grants"].size(), before);
    EXPECT_EQ(as_json(admin_, start + "--from 192.0.2.0/24,198.51.100.7")["from"],
              "192.0.2.0/24,198.51.100.7");
    EXPECT_EQ(as_json(admin_, start)["from"], nullptr); // left out: from anywhere
}

TEST_F(DeskNouns, GrantSaysWhatItSaysOfSudo) {
    const auto add = [&](const std::string& flags) {
        return as_json(admin_, "grant add --group dev --vm web --login deploy" + flags);
    };
    EXPECT_EQ(add("")["sudo"], nullptr);
    EXPECT_EQ(add(" --sudo free")["sudo"], "free");
    EXPECT_EQ(add(" --sudo none")["sudo"], "none");
    const json factor = add(" --sudo factor");
    EXPECT_EQ(factor["sudo"], "factor");
    EXPECT_EQ(factor["sudo_grace_seconds"], 300);
    EXPECT_EQ(add(" --sudo factor --sudo-grace 0")["sudo_grace_seconds"], 0);
    EXPECT_EQ(add(" --sudo factor --sudo-grace 15m")["sudo_grace_seconds"], 900);
}

TEST_F(DeskNouns, GrantAddWarnsOfAgentsThatAskNothingAboutSudo) {
    const ledger::Vm vm = add_vm("web-1");
    fleet_->connect(vm.id);
    const std::string line = "grant add --group dev --vm web-* --login deploy --sudo factor";
    out(admin_, line);
    EXPECT_EQ(console_.stderr_text, "");
    EXPECT_EQ(as_json(admin_, "vm show web-1")["asks_about_sudo"], true);
    fleet_->asks_nothing = true;
    out(admin_, line);
    EXPECT_THAT(console_.stderr_text, HasSubstr("web-1"));
    EXPECT_THAT(console_.stderr_text, HasSubstr("update latchkey-agent"));
    EXPECT_EQ(as_json(admin_, "vm show web-1")["asks_about_sudo"], false);
    out(admin_, "grant add --group dev --vm db-* --login deploy --sudo factor");
    EXPECT_EQ(console_.stderr_text, "");
}

TEST_F(DeskNouns, GrantAddKeepsWhatItWasGivenAndGrantRmRemovesIt) {
    const json grant = as_json(admin_,
                               "grant add --group dev --vm 'db-*' --login postgres,backup --ttl 30m --from "
                               "192.0.2.0/24 --command '/usr/bin/psql -l' --allow pty,port-forwarding");
    EXPECT_EQ(grant["logins"].size(), 2U);
    EXPECT_EQ(grant["ttl_seconds"], 1800);
    EXPECT_EQ(grant["from"], "192.0.2.0/24");
    EXPECT_EQ(grant["command"], "/usr/bin/psql -l");
    EXPECT_EQ(as_json(bob_, "grant ls")["grants"].size(), 2U);
    const Member eve = add_member("eve");
    EXPECT_EQ(as_json(eve, "grant ls")["grants"].size(), 0U);
    out(admin_, "grant rm " + grant["id"].get<std::string>());
    EXPECT_EQ(as_json(bob_, "grant ls")["grants"].size(), 1U);
    EXPECT_EQ(run(admin_, "grant rm " + grant["id"].get<std::string>()), 1);
}

TEST_F(DeskNouns, GroupsShowTheirMembersToThoseWhoAudit) {
    EXPECT_EQ(as_json(admin_, "group ls")["groups"][0]["members"], json({"bob"}));
    EXPECT_FALSE(as_json(bob_, "group ls")["groups"][0].contains("members"));
    out(admin_, "group leave dev bob");
    EXPECT_EQ(as_json(bob_, "group ls")["groups"].size(), 0U);
}

TEST_F(DeskNouns, VmTokenPrintsTheTokenAlone) {
    const std::string token = out(admin_, "vm token --label env=prod --uses 3 --for 2h --name 'web-*'");
    const auto parsed = ledger::take(protocol::JoinToken::parse(token.substr(0, token.size() - 1)));
    EXPECT_EQ(parsed.broker.text(), "broker.example.org:7443");
    EXPECT_EQ(parsed.broker_key, ledger::ledger_key().public_key().fingerprint());
    const auto join = [&](const char* name) {
        return write([&](ledger::Transaction& t) {
            const auto key = ledger::take(keys::PrivateKey::generate(keys::KeyType::kEd25519));
            return ledger::join_vm(t, parsed.id, parsed.secret.view(), ledger::take(VmName::parse(name)),
                                   key.public_key().raw_ed25519(), {});
        });
    };
    EXPECT_TRUE(join("web-1").has_value());
    EXPECT_EQ(ledger::code_of(join("db-1")), Code::kRefused);
    EXPECT_EQ(as_json(admin_, "vm show web-1")["labels"], json({"env=prod"}));
}

TEST_F(DeskNouns, JoinTokensAreListedWithoutTheirSecretAndWithdrawn) {
    const json made = as_json(admin_, "vm token --label env=prod --uses 2 --for 2h --name 'web-*'");
    const json kept = as_json(admin_, "vm token");
    const json tokens = as_json(admin_, "token ls")["tokens"];
    ASSERT_EQ(tokens.size(), 2U);
    EXPECT_EQ(tokens[0]["id"], kept["id"]);
    EXPECT_EQ(tokens[1]["id"], made["id"]);
    EXPECT_EQ(tokens[1]["uses_left"], 2);
    EXPECT_EQ(tokens[1]["name"], "web-*");
    EXPECT_EQ(tokens[1]["labels"], json({"env=prod"}));
    const auto parsed = ledger::take(protocol::JoinToken::parse(made["token"].get<std::string>()));
    EXPECT_THAT(tokens.dump(), Not(HasSubstr(std::string(as_text(parsed.secret.view())))));
    const auto join = [&](const json& token) {
        const auto shown = ledger::take(protocol::JoinToken::parse(token["token"].get<std::string>()));
        return write([&](ledger::Transaction& t) {
            const auto key = ledger::take(keys::PrivateKey::generate(keys::KeyType::kEd25519));
            return ledger::join_vm(t, shown.id, shown.secret.view(), ledger::take(VmName::parse("web-1")),
                                   key.public_key().raw_ed25519(), {});
        });
    };
    const std::string id = made["id"];
    open_unlock(bob_);
    EXPECT_EQ(run(bob_, "token ls"), 1);
    EXPECT_EQ(run(bob_, "token rm " + id), 1);
    out(admin_, "token rm " + id);
    EXPECT_EQ(run(admin_, "token rm " + id), 1);
    EXPECT_EQ(ledger::code_of(join(made)), Code::kNotFound);
    EXPECT_TRUE(join(kept).has_value());
    EXPECT_EQ(as_json(admin_, "token ls")["tokens"].size(), 0U) << "used up";
    const json event = as_json(admin_, "audit ls --limit 2")["events"][1];
    EXPECT_EQ(event["action"], "vm.token.remove");
    EXPECT_EQ(event["object"], "token:" + id);
    out(admin_, "vm token --for 1h");
    EXPECT_EQ(as_json(admin_, "token ls")["tokens"].size(), 1U);
    clock_.advance(from_seconds(3601));
    open_unlock(admin_);
    EXPECT_EQ(as_json(admin_, "token ls")["tokens"].size(), 0U) << "ended";
}

TEST_F(DeskNouns, VmTokenRefusesNonsense) {
    for (const char* line :
         {"vm token --uses 0", "vm token --uses many", "vm token --for never", "vm token --label nothing"}) {
        EXPECT_EQ(run(admin_, line), 2) << line;
        EXPECT_EQ(console_.stdout_text, "") << line;
    }
}

TEST_F(DeskNouns, PeopleSeeTheVmsThatTheyMayLogInTo) {
    add_vm("web-1");
    add_vm("db-1");
    const json seen = as_json(bob_, "vm ls")["vms"];
    ASSERT_EQ(seen.size(), 1U);
    EXPECT_EQ(seen[0]["name"], "web-1");
    EXPECT_EQ(seen[0]["your_logins"], json({"deploy"}));
    EXPECT_EQ(as_json(admin_, "vm ls")["vms"].size(), 2U);
    EXPECT_EQ(run(bob_, "vm show db-1"), 1);
    EXPECT_EQ(as_json(admin_, "vm set web-1 --offline-grace 2h")["offline_grace_seconds"], 7200);
    EXPECT_THAT(out(admin_, "vm set web-1 --offline-grace 0"), HasSubstr("nobody"));
    EXPECT_EQ(as_json(admin_, "vm show web-1")["offline_grace_seconds"], 0);
    EXPECT_EQ(run(admin_, "vm set web-1"), 2);
    EXPECT_EQ(run(admin_, "vm set web-1 --offline-grace 90d"), 2);
    EXPECT_EQ(run(admin_, "vm set nowhere --offline-grace 1h"), 1);
    EXPECT_EQ(run(bob_, "vm set web-1 --offline-grace 1h"), 1);
    out(admin_, "vm rm web-1");
    EXPECT_EQ(run(bob_, "vm show web-1"), 1);
}

TEST_F(DeskNouns, ExplainSaysTheRuleAndTheVmsOwnView) {
    const ledger::Vm vm = add_vm("web-1");
    fleet_->connect(vm.id);
    EXPECT_THAT(out(bob_, "explain bob deploy web-1"), HasSubstr("denied"));
    open_unlock(bob_);
    const std::string said = out(bob_, "explain bob deploy web-1");
    EXPECT_THAT(said, HasSubstr("group dev"));
    EXPECT_THAT(said, HasSubstr("vm: web-1 is connected"));
    EXPECT_THAT(said, HasSubstr("allowed"));
    EXPECT_EQ(as_json(admin_, "explain bob root web-1")["allowed"], false);
    EXPECT_EQ(run(admin_, "explain nobody deploy web-1"), 1);
}

TEST_F(DeskNouns, ExplainSaysUntilWhenALostVmServesAndWhoIsOnIt) {
    const ledger::Vm vm = add_vm("web-1");
    open_unlock(bob_);
    EXPECT_THAT(out(bob_, "explain bob deploy web-1"), HasSubstr("sessions: 0 live\n"));
    open_session(vm, 77);
    std::string said = out(bob_, "explain bob deploy web-1");
    EXPECT_THAT(said, HasSubstr("sessions: 1 live; 77 from 192.0.2.9"));
    EXPECT_THAT(said, HasSubstr("lease: the VM serves what it holds until"));
    EXPECT_EQ(as_json(bob_, "explain bob deploy web-1")["vm_sessions"], json({"77"}));
    EXPECT_THAT(out(admin_, "explain bob root web-1"), HasSubstr("sessions: 0 live\n")) << "another login";
    clock_.advance(from_seconds(vm.offline_grace_seconds + 60));
    said = out(bob_, "explain bob deploy web-1");
    EXPECT_THAT(said, HasSubstr("lease: over since"));
}

TEST_F(DeskNouns, ExplainShowsPeopleTheVmsThatTheyMayLogInToAndNoOthers) {
    add_vm("web-1");
    add_vm("db-1");
    EXPECT_THAT(out(bob_, "explain bob root web-1"), HasSubstr("vm: web-1"));
    EXPECT_EQ(run(bob_, "explain bob deploy db-1"), 1);
    const std::string hidden = console_.stderr_text;
    EXPECT_EQ(run(bob_, "explain bob deploy db-2"), 1);
    EXPECT_EQ(hidden.substr(0, 10), "no VM db-1");
    EXPECT_EQ(console_.stderr_text, "no VM db-2" + hidden.substr(10)) << "whether it is there";
    EXPECT_THAT(out(admin_, "explain bob deploy db-1"), HasSubstr("vm: db-1"));
}

TEST_F(DeskNouns, TheAuditKnowsWhoWantedASessionToEndBeforeItDoes) {
    const ledger::Vm vm = add_vm("web-1");
    open_session(vm, 77);
    open_unlock(bob_);
    fleet_->connect(vm.id);
    out(bob_, "sessions end 77");
    const json events = as_json(bob_, "audit ls --limit 2")["events"];
    ASSERT_EQ(events.size(), 2U);
    EXPECT_EQ(events[0]["action"], "session.end");
    EXPECT_EQ(events[0]["outcome"], "done");
    EXPECT_EQ(events[0]["detail"]["outcome"], "ended");
    EXPECT_EQ(events[1]["action"], "session.end");
    EXPECT_EQ(events[1]["outcome"], "allow");
    EXPECT_EQ(events[1]["detail"]["session"], "77");
}

TEST_F(DeskNouns, SessionsAreEndedAtTheirVm) {
    const ledger::Vm vm = add_vm("web-1");
    open_session(vm, 77);
    const Member eve = add_member("eve");
    open_unlock(eve);
    open_unlock(bob_);
    EXPECT_EQ(as_json(eve, "sessions ls")["sessions"].size(), 0U);
    EXPECT_EQ(run(eve, "sessions end 77"), 1);
    json row = as_json(bob_, "sessions ls")["sessions"][0];
    EXPECT_EQ(row["vm"], "web-1");
    EXPECT_EQ(row["serial"], "5");
    EXPECT_EQ(row["state"], "last-seen");
    EXPECT_THAT(out(bob_, "sessions ls"), HasSubstr("  last seen 0 s ago  "));
    EXPECT_EQ(run(bob_, "sessions end 77"), 4); // the VM is away
    EXPECT_THAT(console_.stderr_text, HasSubstr("revoke cert 5"));
    fleet_->connect(vm.id);
    row = as_json(bob_, "sessions ls --vm web-1 --user bob")["sessions"][0];
    EXPECT_EQ(row["state"], "live");
    EXPECT_THAT(out(bob_, "sessions end 77"), HasSubstr("ended session 77 at web-1"));
    fleet_->outcome = protocol::SessionOutcome::kWasGone;
    EXPECT_EQ(as_json(bob_, "sessions end 77")["outcome"], "was-gone");
    fleet_->outcome = protocol::SessionOutcome::kStillThere;
    EXPECT_EQ(run(bob_, "sessions end 77"), 3);
    EXPECT_EQ(fleet_->ended, (std::vector<std::uint64_t>{77, 77, 77}));
    EXPECT_EQ(run(bob_, "sessions end 78"), 1);
}

TEST_F(DeskNouns, AuditShowsPeopleTheirOwnAndAuditorsAll) {
    open_unlock(bob_);
    out(bob_, "cert");
    const json own = as_json(bob_, "audit ls");
    for (const json& event : own["events"]) {
        const std::string text = event.dump();
        EXPECT_THAT(text, HasSubstr("bob")) << text;
    }
    EXPECT_GT(as_json(admin_, "audit ls --since 1h --limit 3")["events"].size(), 2U);
    EXPECT_EQ(as_json(admin_, "audit verify")["intact"], true);
    const std::string lines = out(admin_, "audit export");
    EXPECT_EQ(json::parse(lines.substr(0, lines.find('\n')))["sequence"], 1);
}

TEST_F(DeskNouns, AuditExportGivesEveryRowPageByPage) {
    constexpr int kMore = 2100; // over two pages
    ledger::take(write([](ledger::Transaction& t) -> Status {
        for (int i = 0; i < kMore; ++i)
            LK_CHECK(ledger::append_audit(t, {"admin", "test", "bob", "done", "{}"}));
        return {};
    }));
    const std::string lines = out(admin_, "audit export");
    std::uint64_t sequence = 0;
    std::size_t at = 0;
    for (std::size_t end = 0; (end = lines.find('\n', at)) != std::string::npos; at = end + 1) {
        ASSERT_EQ(json::parse(lines.substr(at, end - at))["sequence"], ++sequence);
    }
    EXPECT_GT(sequence, static_cast<std::uint64_t>(kMore));
    EXPECT_EQ(as_json(admin_, "audit verify")["rows"], sequence);
    out(admin_, "group add ops"); // is the newest event, and of none of these
    const std::string of_bob = out(admin_, "audit export --user bob");
    EXPECT_GT(std::ranges::count(of_bob, '\n'), kMore);
    EXPECT_THAT(of_bob, Not(HasSubstr("group:ops")));
}

TEST_F(DeskNouns, TheKrlNamesWhatRemovedUsersHoldToo) {
    open_unlock(bob_);
    const std::string serial = as_json(bob_, "cert")["serial"];
    out(admin_, "user rm bob");
    EXPECT_EQ(as_json(admin_, "ca krl")["serials"], 1);
    const Member again = add_member("bob"); // the same name, another account
    out(admin_, "group join dev bob");
    open_unlock(again);
    clock_.advance(from_seconds(1));
    EXPECT_NE(as_json(again, "cert")["serial"], serial);
    EXPECT_EQ(as_json(admin_, "ca krl")["serials"], 1) << "the new bob's stays good";
    clock_.advance(from_seconds(60));
    out(admin_, "user rm bob");
    EXPECT_EQ(as_json(admin_, "ca krl")["serials"], 2) << "each once";
}

TEST_F(DeskNouns, TheKrlOfATimeNamesWhatRemovedUsersHoldToo) {
    open_unlock(bob_);
    out(bob_, "cert");
    ledger::take(write([](ledger::Transaction& t) {
        return ledger::remove_user(t, ledger::user_name("bob"), "test"); // without a revocation of its own
    }));
    EXPECT_EQ(as_json(admin_, "ca krl")["serials"], 0);
    clock_.advance(from_seconds(60));
    out(admin_, "revoke before 10s --reason clean slate");
    EXPECT_EQ(as_json(admin_, "ca krl")["serials"], 1);
}

TEST_F(DeskNouns, TheKrlLoadsInStockSshKeygenAndNamesWhatIsRevoked) {
    open_unlock(bob_);
    const std::string line = out(bob_, "cert");
    EXPECT_EQ(as_json(admin_, "ca krl")["serials"], 0);
    out(admin_, "revoke user bob --reason gone");
    EXPECT_EQ(as_json(admin_, "ca krl")["serials"], 1);
    const std::string krl = out(admin_, "ca krl");
    EXPECT_TRUE(check_krl(as_bytes(krl), "/usr/bin/ssh-keygen").has_value());
    EXPECT_EQ(krl.substr(0, 6), "SSHKRL");
}

TEST_F(DeskNouns, AKrlThatSshKeygenDoesNotReadIsNotGivenOut) {
    EXPECT_EQ(ledger::code_of(check_krl(as_bytes("SSHKRL\n nonsense"), "/usr/bin/ssh-keygen")),
              Code::kInternal);
    EXPECT_TRUE(check_krl(as_bytes("nonsense"), "/nowhere/ssh-keygen").has_value());
}

TEST_F(DeskNouns, TheCaKeyIsALineForAuthorizedKeys) {
    const std::string line = out(bob_, "ca pub");
    EXPECT_EQ(line, ledger::ca_key().public_key().line() + " latchkey-ca\n");
    EXPECT_EQ(as_json(bob_, "ca show")["keys"].size(), 2U);
}

TEST_F(DeskNouns, TablesFitTheTerminal) {
    add_vm("web-1");
    console_.has_terminal = true;
    console_.columns = 30;
    const std::string table = out(admin_, "vm ls");
    std::size_t longest = 0;
    std::size_t at = 0;
    while (at < table.size()) {
        const std::size_t end = table.find('\n', at);
        longest = std::max(longest, end - at);
        at = end + 1;
    }
    EXPECT_LE(longest, 32U); // "…" is three bytes wide
    EXPECT_THAT(table, ::testing::StartsWith("NAME"));
}

} // namespace
} // namespace latchkey::desk
