// SPDX-License-Identifier: Apache-2.0
// The door against the stock ssh client: what a person, and what a stranger, meets.
#include <gmock/gmock.h>

#include <fstream>

#include "broker/door/door_for_tests.h"
#include "broker/door/fake_agent.h"
#include "broker/ledger/factors.h"
#include "broker/ledger/users.h"

namespace latchkey::door {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kStandardRefusal = "Permission denied (publickey)";

class DoorLogin : public DoorTest {
protected:
    DoorLogin() : bob_(add_person("bob")) { grant_everything({bob_}); }

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

TEST_F(DoorLogin, AsksNoCodeWhileTheUnlockIsOpen) {
    open_unlock(bob_.member);
    const Ended done = ssh(bob("cert"));
    EXPECT_EQ(done.status, 0) << done.err;
    EXPECT_THAT(done.out, HasSubstr("ssh-ed25519-cert-v01@openssh.com "));
}

TEST_F(DoorLogin, RefusesAWrongCodeAndTakesTheRightOneAfterIt) {
    const std::string code = next_code(bob_.member);
    const Ended done = ssh(bob("cert", {"000000", code}));
    EXPECT_EQ(done.status, 0) << done.err;
}

TEST_F(DoorLogin, EndsTheConnectionAfterThreeWrongCodes) {
    const Ended done = ssh(bob("cert", {"000000", "000001", "000002", next_code(bob_.member)}));
    EXPECT_EQ(done.status, 255);
    EXPECT_EQ(done.out, "");
    EXPECT_THAT(done.err, HasSubstr("too many wrong codes"));
}

TEST_F(DoorLogin, BlocksCodesAfterFiveFailuresEvenTheRightOne) {
    ssh(bob("cert", {"000000", "000001", "000002"}));
    const Ended fifth = ssh(bob("cert", {"000003", "000004"}));
    EXPECT_THAT(fifth.err, HasSubstr("too many wrong codes; try again in 1 min"));
    const Ended right = ssh(bob("cert", {next_code(bob_.member)}));
    EXPECT_EQ(right.status, 255);
    EXPECT_THAT(right.err, HasSubstr("try again in 1 min"));
    clock_.advance(from_seconds(60));
    EXPECT_EQ(ssh(bob("cert", {next_code(bob_.member)})).status, 0);
}

TEST_F(DoorLogin, RefusesACodeUsedTwice) {
    const std::string code = next_code(bob_.member);
    ASSERT_EQ(ssh(bob("cert", {code})).status, 0);
    ASSERT_EQ(ssh(bob("lock")).status, 0);
    const Ended again = ssh(bob("cert", {code}));
    EXPECT_EQ(again.status, 255);
    EXPECT_EQ(again.out, "");
}

TEST_F(DoorLogin, GivesAStrangerTheStandardRefusal) {
    StockSsh::Options stranger = bob("cert");
    stranger.user = "nobody";
    const Ended done = ssh(stranger);
    EXPECT_EQ(done.status, 255);
    EXPECT_THAT(done.err, HasSubstr(kStandardRefusal));
}

TEST_F(DoorLogin, GivesAnUnregisteredKeyTheSameRefusal) {
    StockSsh::Options options = bob("cert");
    options.key = make_key(folder_, "other");
    const Ended done = ssh(options);
    EXPECT_EQ(done.status, 255);
    EXPECT_THAT(done.err, HasSubstr(kStandardRefusal));
}

TEST_F(DoorLogin, RefusesAnothersNameWithOnesOwnKey) {
    const Person eve = add_person("eve");
    StockSsh::Options options = as(eve, "cert");
    options.user = "bob";
    EXPECT_THAT(ssh(options).err, HasSubstr(kStandardRefusal));
}

TEST_F(DoorLogin, TellsALockedAccountOnlyAfterItsKeyIsProven) {
    ledger::take(write([&](ledger::Transaction& t) {
        return ledger::lock_user(t, bob_.member.user.name, "laptop stolen", "test");
    }));
    const Ended own = ssh(bob("cert", {next_code(bob_.member)}));
    EXPECT_EQ(own.status, 255);
    EXPECT_THAT(own.err, HasSubstr("account locked; ask an admin"));
    StockSsh::Options other = bob("cert");
    other.key = make_key(folder_, "other");
    const Ended stranger = ssh(other);
    EXPECT_THAT(stranger.err, HasSubstr(kStandardRefusal));
    EXPECT_THAT(stranger.err, Not(HasSubstr("locked")));
}

TEST_F(DoorLogin, TakesEveryKeyTypeThatWeAccept) {
    const std::vector<std::vector<std::string>> kinds = {{"-t", "ecdsa", "-b", "256"},
                                                         {"-t", "ecdsa", "-b", "384"},
                                                         {"-t", "ecdsa", "-b", "521"},
                                                         {"-t", "rsa", "-b", "3072"}};
    int number = 0;
    for (const auto& kind : kinds) {
        const Person person = add_person("user" + std::to_string(number++), ledger::Role::kUser, kind);
        StockSsh::Options options = as(person, "whoami");
        options.answers = {next_code(person.member)};
        const Ended done = ssh(options);
        EXPECT_EQ(done.status, 0) << kind[1] << kind[3] << ": " << done.err;
    }
}

TEST_F(DoorLogin, TakesSecurityKeys) {
    for (const auto type : {keys::KeyType::kSkEd25519, keys::KeyType::kSkEcdsa256}) {
        const SoftwareToken token(type);
        const FakeAgent agent(folder_ / std::string(keys::type_name(type)), token.public_key().blob(),
                              [&](ByteView data) { return token.sign(data); });
        Person person;
        person.member = add_member(type == keys::KeyType::kSkEd25519 ? "sked" : "skec", token.public_key());
        person.key = folder_ / ("token-" + std::string(keys::type_name(type)) + ".pub");
        std::ofstream(person.key) << token.public_key().line() << "\n";
        StockSsh::Options options = as(person, "whoami");
        options.extra = {"-o", "IdentityAgent=" + agent.socket().string()};
        options.answers = {next_code(person.member)};
        const Ended done = ssh(options);
        EXPECT_EQ(done.status, 0) << keys::type_name(type) << ": " << done.err;
    }
}

TEST_F(DoorLogin, RefusesRsaWithSha1) {
    const Person person = add_person("old", ledger::Role::kUser, {"-t", "rsa", "-b", "3072"});
    StockSsh::Options options = as(person, "whoami");
    options.extra = {"-o", "PubkeyAcceptedAlgorithms=ssh-rsa"};
    options.answers = {next_code(person.member)};
    EXPECT_EQ(ssh(options).status, 255);
}

TEST_F(DoorLogin, GoesOnWithThePlainKeyWhereACertificateIsOffered) {
    const std::filesystem::path ca = make_key(folder_, "ca");
    ASSERT_EQ(run_program({"/usr/bin/ssh-keygen", "-q", "-s", ca, "-I", "bob", "-n", "bob", "-V", "-2d:-1d",
                           bob_.key.string() + ".pub"}),
              0);
    const Ended done = ssh(bob("whoami", {next_code(bob_.member)}));
    EXPECT_EQ(done.status, 0) << done.err;
}

TEST_F(DoorLogin, EndsAConnectionWhoseSignatureIsWrong) {
    const FakeAgent agent(folder_ / "agent", bob_.member.key.blob, sign_with_zeros);
    StockSsh::Options options = bob("cert", {next_code(bob_.member)});
    options.key = bob_.key.string() + ".pub";
    options.extra = {"-o", "IdentityAgent=" + agent.socket().string()};
    const Ended done = ssh(options);
    EXPECT_EQ(agent.signatures(), 1);
    EXPECT_EQ(done.status, 255);
    EXPECT_THAT(done.err, HasSubstr("a request could not be answered"));
}

TEST_F(DoorLogin, RefusesForwardingOfAnyKind) {
    open_unlock(bob_.member);
    StockSsh::Options direct = bob("");
    direct.extra = {"-W", "127.0.0.1:22"};
    EXPECT_NE(ssh(direct).status, 0);
    StockSsh::Options remote = bob("whoami");
    remote.extra = {"-R", "0:127.0.0.1:22", "-o", "ExitOnForwardFailure=yes"};
    EXPECT_EQ(ssh(remote).status, 255);
    StockSsh::Options agent = bob("whoami");
    agent.extra = {"-A", "-X"};
    EXPECT_EQ(ssh(agent).status, 0);
}

TEST_F(DoorLogin, HasNoSubsystem) {
    open_unlock(bob_.member);
    StockSsh::Options options = bob("sftp");
    options.extra = {"-s"};
    EXPECT_EQ(ssh(options).status, 255);
}

TEST_F(DoorLogin, ShowsWhatIsOpenWithoutACommand) {
    const Ended done = ssh(bob("", {next_code(bob_.member)}));
    EXPECT_EQ(done.status, 0) << done.err;
    EXPECT_THAT(done.out, HasSubstr("bob: unlocked until "));
    EXPECT_THAT(done.out, HasSubstr("logins: deploy"));
}

TEST_F(DoorLogin, GivesTheExitStatusAndOneErrorLine) {
    open_unlock(bob_.member);
    EXPECT_EQ(ssh(bob("user add eve --email e@example.org")).status, 1);
    const Ended unknown = ssh(bob("frobnicate"));
    EXPECT_EQ(unknown.status, 2);
    EXPECT_THAT(unknown.err, HasSubstr("no command frobnicate; run: help\n"));
}

TEST_F(DoorLogin, AsksForAFresherFactorOnStderrAndReadsItFromStdin) {
    const Person admin = add_person("admin", ledger::Role::kAdmin);
    open_unlock(admin.member, from_seconds(3600));
    StockSsh::Options options = as(admin, "group add ops");
    options.input = next_code(admin.member) + "\n";
    const Ended done = ssh(options);
    EXPECT_EQ(done.status, 0) << done.err;
    EXPECT_THAT(done.err, HasSubstr("Verification code: "));
    EXPECT_EQ(done.out, "added group ops\n");
}

TEST_F(DoorLogin, EndsWithTheLineToRunWhereNoInputIsLeft) {
    const Person admin = add_person("admin", ledger::Role::kAdmin);
    open_unlock(admin.member, from_seconds(3600));
    const Ended done = ssh(as(admin, "group add ops"));
    EXPECT_EQ(done.status, 1);
    EXPECT_THAT(done.err, HasSubstr("run: ssh -t -p 2222 admin@broker.example.org group add ops"));
}

TEST_F(DoorLogin, AsksAtATerminalWithoutEcho) {
    const Person admin = add_person("admin", ledger::Role::kAdmin);
    open_unlock(admin.member, from_seconds(3600));
    StockSsh::Options options = as(admin, "group add ops");
    options.has_terminal = true;
    const std::string code = next_code(admin.member);
    options.input = code + "\n";
    const Ended done = ssh(options);
    EXPECT_EQ(done.status, 0) << done.err;
    EXPECT_THAT(done.out + done.err, HasSubstr("added group ops\r\n"));
    EXPECT_THAT(done.out + done.err, Not(HasSubstr(code)));
}

TEST_F(DoorLogin, RunsSeveralCommandsOverOneConnection) {
    const std::string socket = (folder_ / "master").string();
    open_unlock(bob_.member);
    StockSsh::Options first = bob("whoami");
    first.extra = {"-o", "ControlMaster=yes", "-o", "ControlPersist=60", "-o", "ControlPath=" + socket};
    ASSERT_EQ(ssh(first).status, 0);
    StockSsh::Options next = bob("cert");
    next.extra = {"-o", "ControlPath=" + socket};
    next.key = "/nonexistent"; // only the master can get in
    const Ended second = ssh(next);
    EXPECT_EQ(second.status, 0) << second.err;
    EXPECT_THAT(second.out, HasSubstr("cert-v01@openssh.com "));
    EXPECT_EQ(run_program({"/usr/bin/ssh", "-F", "none", "-o", "ControlPath=" + socket, "-O", "exit",
                           "bob@127.0.0.1"}),
              0);
}

TEST_F(DoorLogin, TellsAMasterConnectionThatTheAccountWasLockedMeanwhile) {
    const std::string socket = (folder_ / "master").string();
    open_unlock(bob_.member);
    StockSsh::Options first = bob("whoami");
    first.extra = {"-o", "ControlMaster=yes", "-o", "ControlPersist=60", "-o", "ControlPath=" + socket};
    ASSERT_EQ(ssh(first).status, 0);
    ledger::take(write(
        [&](ledger::Transaction& t) { return ledger::lock_user(t, bob_.member.user.name, "gone", "test"); }));
    StockSsh::Options next = bob("cert");
    next.extra = {"-o", "ControlPath=" + socket};
    const Ended second = ssh(next);
    EXPECT_EQ(second.status, 1);
    EXPECT_THAT(second.err, HasSubstr("account locked; ask an admin"));
    EXPECT_EQ(run_program({"/usr/bin/ssh", "-F", "none", "-o", "ControlPath=" + socket, "-O", "exit",
                           "bob@127.0.0.1"}),
              0);
}

} // namespace
} // namespace latchkey::door
