// SPDX-License-Identifier: Apache-2.0
#include "broker/hub/hub.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <set>
#include <thread>

#include "broker/hub/hub_for_tests.h"
#include "broker/ledger/audit.h"
#include "broker/ledger/policy_rows.h"
#include "broker/ledger/revocations.h"
#include "broker/ledger/vm_reports.h"
#include "broker/ledger/vms.h"

namespace latchkey::hub {
namespace {

using ledger::take;
using ledger::Transaction;
using protocol::GrantDecision;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using Joining = HubTest;
using Greeting = HubTest;
using Fetching = HubTest;
using Sessions = HubTest;
using TrustPush = HubTest;

TEST_F(Joining, MakesAVmOfAFreshKeyAndWelcomesIt) {
    const auto token = take(write([&](Transaction& t) {
        return ledger::add_join_token(t, 1, t.now + from_seconds(60), "web-*", {{"env", "prod"}}, "admin");
    }));
    const auto key = new_private_key();
    TestAgent agent(hub_->port(), key);
    EXPECT_EQ(agent.broker_key(), to_bytes(identity_.public_key().raw_ed25519()));
    protocol::Join join;
    join.token_id = token.id;
    join.token_secret = token.secret.clone();
    join.name = *VmName::parse("web-7");
    agent.send(join);
    const auto joined = agent.receive<protocol::Joined>();
    EXPECT_EQ(joined.name.str(), "web-7");
    const auto welcome = agent.greet();
    EXPECT_EQ(welcome.vm_id, joined.vm_id);
    EXPECT_THAT(welcome.trust.ca_keys, ElementsAre(ledger::ca_key().public_key().blob()));
    EXPECT_THAT(welcome.trust.ledger_keys, ElementsAre(ledger::ledger_key().public_key().blob()));
    EXPECT_TRUE(hub_->connected(joined.vm_id));
    const auto row = take(read([&](Transaction& t) { return ledger::find_vm(t, joined.name); }));
    ASSERT_TRUE(row);
    EXPECT_THAT(row->labels, ElementsAre(protocol::KeyValue{"env", "prod"}));
}

TEST_F(Joining, RefusesAWrongSecretAndASpentToken) {
    const auto token = take(write([&](Transaction& t) {
        return ledger::add_join_token(t, 1, t.now + from_seconds(60), "*", {}, "admin");
    }));
    const auto ask = [&](const char* name, SecretBytes secret) {
        const auto key = new_private_key();
        TestAgent agent(hub_->port(), key);
        protocol::Join join;
        join.token_id = token.id;
        join.token_secret = std::move(secret);
        join.name = *VmName::parse(name);
        agent.send(join);
        const auto frame = agent.receive();
        return frame ? frame->type : protocol::Type::kUnsupported;
    };
    EXPECT_EQ(ask("web-1", SecretBytes(as_bytes("wrong"))), protocol::Type::kRefused);
    EXPECT_EQ(ask("web-1", token.secret.clone()), protocol::Type::kJoined);
    EXPECT_EQ(ask("web-2", token.secret.clone()), protocol::Type::kRefused);
}

TEST_F(Greeting, RefusesAKeyThatNobodyRegistered) {
    const auto key = new_private_key();
    TestAgent agent(hub_->port(), key);
    agent.send(protocol::Hello());
    const auto refused = agent.receive<protocol::Refused>();
    EXPECT_EQ(refused.code, info(Code::kUnauthenticated).name);
    EXPECT_THAT(refused.next, HasSubstr("latchkey-agent join"));
    EXPECT_TRUE(agent.is_closed());
    EXPECT_EQ(hub_->connected_count(), 0u);
}

TEST_F(Greeting, RefusesAVmThatWasRemoved) {
    const Member web = add_member("web-7");
    take(write([&](Transaction& t) { return ledger::remove_vm(t, web.vm.name, "admin"); }));
    TestAgent agent = connect(web);
    agent.send(protocol::Hello());
    EXPECT_EQ(agent.receive<protocol::Refused>().code, info(Code::kUnauthenticated).name);
}

TEST_F(Greeting, RefusesVersionsThatItDoesNotSpeak) {
    const Member web = add_member("web-7");
    TestAgent agent = connect(web);
    protocol::Hello hello;
    hello.version_min = 2;
    hello.version_max = 3;
    agent.send(hello);
    EXPECT_EQ(agent.receive<protocol::Refused>().code, info(Code::kUnsupported).name);
}

TEST_F(Greeting, TellsWhatWasMissedAndNoMore) {
    const Member web = add_member("web-7");
    const auto bob = add_person("bob");
    grant(bob, "*", {"deploy"});
    take(issuer_->issue(bob.user, bob.key, bob.unlock, "bob"));
    revoke("user", "bob");
    revoke("key", bob.key.fingerprint.str());
    TestAgent agent = connect(web);
    const auto welcome = agent.greet(Epoch{1});
    EXPECT_EQ(welcome.epoch, Epoch{2});
    EXPECT_FALSE(welcome.full);
    ASSERT_EQ(agent.caught_up.size(), 1u);
    EXPECT_EQ(agent.caught_up[0].epoch, Epoch{2});
    EXPECT_EQ(agent.caught_up[0].kind, "key");
}

TEST_F(Greeting, SendsEverythingInForceToAnAgentThatAsksForIt) {
    const Member web = add_member("web-7");
    const auto bob = add_person("bob");
    grant(bob, "*", {"deploy"});
    take(issuer_->issue(bob.user, bob.key, bob.unlock, "bob"));
    revoke("user", "bob");
    TestAgent agent = connect(web);
    protocol::Hello hello;
    hello.epoch = Epoch{1}; // it misses nothing
    hello.extensions.push_back({std::string(protocol::kResyncExtension), {}});
    agent.send(hello);
    EXPECT_TRUE(agent.receive<protocol::Welcome>().full);
    const auto all = agent.receive_last_revoke();
    ASSERT_EQ(all.entries.size(), 1u);
    EXPECT_EQ(all.entries[0].text, "bob");
}

TEST_F(Greeting, FillsShortGapsWithWhatHasEndedSince) {
    const Member web = add_member("web-7");
    add_person("bob");
    revoke("user", "bob"); // covers nothing: ends at once
    clock_.advance(from_seconds(10));
    revoke("user", "bob");
    TestAgent agent = connect(web);
    EXPECT_FALSE(agent.greet(Epoch{0}).full);
    EXPECT_EQ(agent.caught_up.size(), 2u);
}

TEST_F(Greeting, SendsEverythingInForceWhereTheGapIsLong) {
    const Member web = add_member("web-7");
    add_person("eve");
    const auto bob = add_person("bob");
    grant(bob, "*", {"deploy"});
    const auto row = take(issuer_->issue(bob.user, bob.key, bob.unlock, "bob"));
    revoke("cert", std::to_string(row.serial.value));
    for (int i = 0; i < 300; ++i) revoke("user", "eve");
    clock_.advance(from_seconds(10));
    TestAgent agent = connect(web);
    const auto welcome = agent.greet(Epoch{0});
    EXPECT_TRUE(welcome.full);
    EXPECT_EQ(welcome.epoch, Epoch{301});
    ASSERT_EQ(agent.caught_up.size(), 1u);
    EXPECT_EQ(agent.caught_up[0].kind, "cert");
}

TEST_F(Greeting, RefusesAnAgentThatIsAheadOfUs) {
    const Member web = add_member("web-7");
    TestAgent agent = connect(web);
    protocol::Hello hello;
    hello.epoch = Epoch{5};
    agent.send(hello);
    const auto refused = agent.receive<protocol::Refused>();
    EXPECT_EQ(refused.code, info(Code::kConflict).name);
    EXPECT_TRUE(eventually([&] { return audit_count("hub.rollback") == 1; }));
    EXPECT_TRUE(has_logged("rolled back"));
    EXPECT_FALSE(hub_->connected(web.vm.id));
}

TEST_F(Greeting, EndsForAllWhereTheLedgerTurnsOutToBeOlderThanWhatWasTold) {
    const Member web = add_member("web-7");
    const Member fresh = add_member("web-8");
    add_person("bob");
    TestAgent agent = connect(web);
    agent.greet();
    revoke("user", "bob");
    agent.receive<protocol::Revoke>();
    ASSERT_TRUE(eventually([&] { // where a reader of that moment locks it, again
        const auto connection = store_->connect();
        return connection && (*connection)->run("DELETE FROM revocations", {}) &&
               (*connection)->run("UPDATE counters SET value = 0 WHERE name = 'epoch'", {});
    }));
    TestAgent late = connect(fresh);
    late.send(protocol::Hello());
    EXPECT_EQ(late.receive<protocol::Refused>().code, info(Code::kConflict).name);
    EXPECT_TRUE(agent.is_closed());
    EXPECT_TRUE(has_logged("ledger was set back"));
}

TEST_F(Greeting, IsFollowedByHeartbeatsInBrokerTime) {
    const Member web = add_member("web-7");
    TestAgent agent = connect(web);
    agent.greet();
    clock_.advance(from_millis(21));
    EXPECT_TRUE(agent.receive_up_to(protocol::Type::kHeartbeat));
}

TEST_F(Greeting, TakesTheNewConnectionOfAVmForTheOldOne) {
    const Member web = add_member("web-7");
    TestAgent first = connect(web);
    first.greet();
    TestAgent second = connect(web);
    second.greet();
    EXPECT_TRUE(first.is_closed());
    EXPECT_TRUE(hub_->connected(web.vm.id));
    EXPECT_EQ(hub_->connected_count(), 1u);
    second.close();
    EXPECT_TRUE(eventually([&] { return !hub_->connected(web.vm.id); }));
}

TEST_F(Fetching, IsAnsweredWithAGrantOrADenial) {
    const Member web = add_member("web-7");
    const auto bob = add_person("bob");
    grant(bob, "web-*", {"deploy"});
    TestAgent agent = connect(web);
    EXPECT_THAT(agent.greet().trust.managed_logins, ElementsAre(*Login::parse("deploy")));
    agent.send(fetch_of(bob, "deploy"));
    const auto allowed = agent.receive<protocol::Grant>();
    EXPECT_EQ(allowed.decision, GrantDecision::kAllow) << allowed.reason;
    EXPECT_EQ(allowed.request, 1u);
    agent.send(fetch_of(bob, "root"));
    const auto denied = agent.receive<protocol::Grant>();
    EXPECT_EQ(denied.decision, GrantDecision::kDeny);
    EXPECT_THAT(denied.certificate, IsEmpty());
}

TEST_F(Fetching, WaitsItsTurnWhereAVmAsksForMuchAtOnce) {
    const Member web = add_member("web-7");
    const auto bob = add_person("bob");
    grant(bob, "web-*", {"deploy"});
    TestAgent agent = connect(web);
    agent.greet();
    constexpr std::uint64_t kCount = 100;
    for (std::uint64_t i = 1; i <= kCount; ++i) {
        auto fetch = fetch_of(bob, "deploy");
        fetch.request = i;
        agent.send(fetch);
    }
    std::set<std::uint64_t> answered;
    for (std::uint64_t i = 1; i <= kCount; ++i) {
        const auto answer = agent.receive<protocol::Grant>();
        EXPECT_EQ(answer.decision, GrantDecision::kAllow) << answer.reason;
        answered.insert(answer.request);
    }
    EXPECT_EQ(answered.size(), kCount);
    EXPECT_EQ(signer_.signatures, 1);
}

TEST_F(Fetching, IsDeniedWhileTheSignerIsGone) {
    const Member web = add_member("web-7");
    const auto bob = add_person("bob");
    grant(bob, "web-*", {"deploy"});
    TestAgent agent = connect(web);
    agent.greet();
    signer_.is_gone = true;
    agent.send(fetch_of(bob, "deploy"));
    const auto denied = agent.receive<protocol::Grant>();
    EXPECT_EQ(denied.decision, GrantDecision::kDeny);
    EXPECT_THAT(denied.reason, HasSubstr("cannot judge now"));
    signer_.is_gone = false;
    agent.send(fetch_of(bob, "deploy"));
    EXPECT_EQ(agent.receive<protocol::Grant>().decision, GrantDecision::kAllow);
}

TEST_F(Fetching, ComesAheadToWhereTheUserWasLately) {
    const Member web = add_member("web-7");
    const Member other = add_member("web-8");
    const auto bob = add_person("bob");
    grant(bob, "web-*", {"deploy"});
    TestAgent agent = connect(web);
    agent.greet();
    TestAgent stranger = connect(other);
    stranger.greet();
    protocol::SessionEvent opened;
    opened.session = 77;
    opened.user = bob.user.name;
    opened.login = *Login::parse("deploy");
    opened.key = bob.key.fingerprint;
    opened.time = clock_.now();
    agent.send(opened);
    ASSERT_TRUE(eventually(
        [&] { return take(read([&](Transaction& t) { return ledger::find_session(t, 77); })).has_value(); }));
    hub_->prefetch(bob.user, bob.key, bob.unlock);
    const auto ahead = agent.receive<protocol::Grant>();
    EXPECT_EQ(ahead.request, 0u);
    EXPECT_EQ(ahead.decision, GrantDecision::kAllow);
    EXPECT_EQ(ahead.login.str(), "deploy");
    stranger.send(fetch_of(bob, "root")); // what comes next is the answer to this: nothing came ahead
    EXPECT_EQ(stranger.receive<protocol::Grant>().request, 1u);
}

TEST_F(Fetching, ComesAheadForACrowdOneAfterTheOther) {
    const Member web = add_member("web-7");
    TestAgent agent = connect(web);
    agent.greet();
    std::vector<ledger::Person> crowd;
    for (int i = 0; i < 20; ++i) {
        crowd.push_back(add_person("user" + std::to_string(i)));
        grant(crowd.back(), "web-*", {"deploy"});
        protocol::SessionEvent opened;
        opened.session = 100 + static_cast<std::uint64_t>(i);
        opened.user = crowd.back().user.name;
        opened.login = *Login::parse("deploy");
        opened.time = clock_.now();
        agent.send(opened);
    }
    ASSERT_TRUE(eventually([&] {
        return take(read([&](Transaction& t) { return ledger::list_sessions(t, {}); })).size() ==
               crowd.size();
    }));
    for (const auto& person : crowd) {
        for (int twice = 0; twice < 2; ++twice) hub_->prefetch(person.user, person.key, person.unlock);
    }
    std::set<std::string> ahead;
    while (ahead.size() < crowd.size()) {
        const auto frame = agent.receive();
        ASSERT_TRUE(frame);
        if (frame->type != protocol::Type::kGrant) continue; // the rules that were made
        ahead.insert(take(protocol::decode<protocol::Grant>(*frame)).user.str());
    }
}

TEST_F(Sessions, ThatOutlivedTheirRevocationAreEndedWhenTheVmIsBack) {
    const Member web = add_member("web-7");
    const auto bob = add_person("bob");
    grant(bob, "*", {"deploy"});
    const auto certificate = take(issuer_->issue(bob.user, bob.key, bob.unlock, "bob"));
    revoke("user", "bob");
    clock_.advance(from_seconds(40 * 24 * 3600)); // away
    TestAgent agent = connect(web);
    agent.greet(Epoch{1});
    protocol::SessionEvent event;
    event.session = 77;
    event.user = bob.user.name;
    event.login = *Login::parse("deploy");
    event.key = bob.key.fingerprint;
    event.serial = certificate.serial;
    event.time = clock_.now();
    agent.send(event);
    const auto end = agent.receive<protocol::SessionEnd>();
    EXPECT_EQ(end.session, 77U);
    EXPECT_THAT(end.reason, HasSubstr("epoch 1"));
    event.session = 78;
    event.user = *UserName::parse("eve");
    event.key = Fingerprint();
    event.serial = {};
    agent.send(event);
    EXPECT_FALSE(hub_->end_session(web.vm.id, 99, "next", clock_.monotonic())); // not waited for
    // Nothing is said of hers.
    EXPECT_EQ(agent.receive<protocol::SessionEnd>().session, 99U);
}

TEST_F(Greeting, RefusesASecondMachineWithAnIdentityThatIsInUseAndReportsIt) {
    const Member web = add_member("web-7");
    TestAgent first = connect(web);
    first.instance = Bytes(16, 1);
    first.greet();
    std::atomic<bool> is_over = false;
    std::thread alive([&] { // it goes on talking, as an agent does
        while (!is_over) {
            first.send(protocol::Heartbeat());
            std::this_thread::sleep_for(std::chrono::milliseconds(2));
        }
    });
    TestAgent second = connect(web);
    protocol::Hello hello;
    hello.extensions.push_back({"instance", Bytes(16, 2)});
    second.send(hello);
    const auto refused = second.receive<protocol::Refused>();
    is_over = true;
    alive.join();
    EXPECT_EQ(refused.code, info(Code::kConflict).name);
    EXPECT_THAT(refused.message, HasSubstr("identity"));
    EXPECT_TRUE(hub_->connected(web.vm.id));
    EXPECT_TRUE(eventually([&] {
        const auto reports = take(read([&](Transaction& t) { return ledger::reports_of(t, web.vm.id, 5); }));
        return reports.size() == 1 && reports[0].kind == "clone";
    }));
}

TEST_F(Greeting, LetsAnAgentBackWhoseOldConnectionIsDead) {
    const Member web = add_member("web-7");
    TestAgent first = connect(web);
    first.instance = Bytes(16, 1);
    first.greet();
    TestAgent restarted = connect(web); // the first one says nothing any more
    restarted.instance = Bytes(16, 2);
    restarted.greet();
    EXPECT_TRUE(first.is_closed());
    TestAgent same = connect(web); // the same run, over a new connection
    same.instance = Bytes(16, 2);
    same.greet();
    EXPECT_TRUE(restarted.is_closed());
    EXPECT_TRUE(hub_->connected(web.vm.id));
}

TEST_F(Sessions, AndReportsAreAcknowledgedOnceTheyAreRecorded) {
    const Member web = add_member("web-7");
    TestAgent agent = connect(web);
    agent.greet();
    protocol::Report report;
    report.id = 5;
    report.kind = "break-glass";
    report.text = "account rescue was used";
    for (int twice = 0; twice < 2; ++twice) {
        agent.send(report);
        EXPECT_EQ(agent.receive<protocol::Reported>().id, 5U);
    }
    EXPECT_EQ(take(read([&](Transaction& t) { return ledger::reports_of(t, web.vm.id, 5); })).size(), 1U);
    report.id = 0;
    agent.send(report);
    EXPECT_TRUE(agent.is_closed());
}

TEST_F(Sessions, AreRecordedInTheOrderInWhichTheVmTellsThem) {
    const Member web = add_member("web-7");
    const auto bob = add_person("bob");
    TestAgent agent = connect(web);
    agent.greet();
    protocol::SessionEvent event;
    event.session = 77;
    event.user = bob.user.name;
    event.login = *Login::parse("deploy");
    event.key = bob.key.fingerprint;
    event.time = clock_.now();
    for (const auto phase : {protocol::SessionPhase::kOpened, protocol::SessionPhase::kOpened,
                             protocol::SessionPhase::kEnded}) { // told twice, as after a reconnect
        event.phase = phase;
        event.reason = phase == protocol::SessionPhase::kEnded ? "revoked" : "";
        agent.send(event);
    }
    EXPECT_TRUE(eventually([&] {
        const auto row = take(read([&](Transaction& t) { return ledger::find_session(t, 77); }));
        return row && row->closed_at.value != 0 && row->end_reason == "revoked";
    }));
}

// end_session() on a thread of its own, as the door calls it.
class Ending {
public:
    Ending(Hub& hub, VmId vm, std::uint64_t session, Micros deadline)
        : outcome_(std::async(std::launch::async, [&hub, vm, session, deadline] {
              return hub.end_session(vm, session, "by admin", deadline);
          })) {}
    Result<protocol::SessionOutcome> get() { return outcome_.get(); }

private:
    std::future<Result<protocol::SessionOutcome>> outcome_;
};

TEST_F(Sessions, AreEndedOnDemandAndTheVmSaysWhatBecameOfThem) {
    const Member web = add_member("web-7");
    const Micros deadline = clock_.monotonic() + from_seconds(20);
    EXPECT_EQ(ledger::code_of(hub_->end_session(web.vm.id, 77, "by admin", deadline)), Code::kUnavailable);
    TestAgent agent = connect(web);
    agent.greet();
    using protocol::SessionOutcome;
    for (const auto outcome :
         {SessionOutcome::kEnded, SessionOutcome::kWasGone, SessionOutcome::kStillThere}) {
        Ending ending(*hub_, web.vm.id, 77, deadline);
        const auto end = agent.receive<protocol::SessionEnd>();
        EXPECT_EQ(end.session, 77u);
        EXPECT_EQ(end.reason, "by admin");
        protocol::SessionEnded answer;
        answer.session = 78; // what becomes of another one is no answer
        answer.outcome = SessionOutcome::kStillThere;
        agent.send(answer);
        answer.session = 77;
        answer.outcome = outcome;
        agent.send(answer);
        EXPECT_EQ(take(ending.get()), outcome);
    }
}

TEST_F(Sessions, AreTakenForEndedWhereAnOlderAgentOnlyReportsTheEnd) {
    const Member web = add_member("web-7");
    TestAgent agent = connect(web);
    agent.greet();
    Ending ending(*hub_, web.vm.id, 77, clock_.monotonic() + from_seconds(20));
    agent.receive<protocol::SessionEnd>();
    protocol::SessionEvent ended;
    ended.session = 77;
    ended.phase = protocol::SessionPhase::kEnded;
    ended.user = *UserName::parse("bob");
    ended.time = clock_.now();
    agent.send(ended);
    EXPECT_EQ(take(ending.get()), protocol::SessionOutcome::kEnded);
    EXPECT_EQ(ledger::code_of(hub_->end_session(web.vm.id, 78, "by admin", clock_.monotonic())),
              Code::kTimedOut)
        << "it says nothing of one that is gone";
}

TEST_F(Sessions, AreNotWaitedForAtAVmThatLeaves) {
    const Member web = add_member("web-7");
    TestAgent agent = connect(web);
    agent.greet();
    Ending ending(*hub_, web.vm.id, 77, clock_.monotonic() + from_seconds(3600));
    agent.receive<protocol::SessionEnd>();
    agent.close();
    EXPECT_EQ(ledger::code_of(ending.get()), Code::kUnavailable);
}

TEST_F(Sessions, ThatAVmNoLongerNamesWhenItIsBackAreClosed) {
    const Member web = add_member("web-7");
    protocol::SessionEvent opened;
    opened.user = *UserName::parse("bob");
    opened.time = clock_.now();
    const auto closed_at = [&](std::uint64_t id) {
        const auto row = take(read([&](Transaction& t) { return ledger::find_session(t, id); }));
        return row ? row->closed_at.value : -1;
    };
    const auto name = [&](TestAgent& agent, std::uint64_t id) {
        opened.session = id;
        agent.send(opened);
    };
    {
        TestAgent agent = connect(web);
        agent.greet();
        name(agent, 71);
        name(agent, 72);
        EXPECT_TRUE(eventually([&] { return closed_at(72) == 0; }));
    }
    TestAgent back = connect(web);
    back.greet();
    name(back, 72);
    name(back, 73);
    back.send(protocol::Heartbeat());
    EXPECT_TRUE(eventually([&] { return closed_at(71) > 0; })) << "it ended while the VM was away";
    EXPECT_EQ(closed_at(72), 0);
    EXPECT_EQ(closed_at(73), 0);
    // From then on sessions come and go by themselves.
    name(back, 74);
    back.send(protocol::Heartbeat());
    back.send(back.receipt(Epoch{0}, web.vm.id));
    EXPECT_TRUE(eventually([&] { return closed_at(74) == 0; }));
    EXPECT_EQ(closed_at(73), 0);
}

TEST_F(TrustPush, TellsAVmWhatItGatesOnceThatChanges) {
    const Member web = add_member("web-7");
    const Member db = add_member("db-1");
    TestAgent agent = connect(web);
    EXPECT_THAT(agent.greet().trust.managed_logins, IsEmpty());
    TestAgent other = connect(db);
    other.greet();
    const auto bob = add_person("bob");
    const auto rule = grant(bob, "web-*", {"deploy"});
    EXPECT_THAT(agent.receive<protocol::Trust>().trust.managed_logins, ElementsAre(*Login::parse("deploy")));
    take(write([&](Transaction& t) { return ledger::remove_rule(t, rule.id, "admin"); }));
    EXPECT_THAT(agent.receive<protocol::Trust>().trust.managed_logins, IsEmpty());
    other.send(fetch_of(bob, "x")); // and the other VM was told nothing
    EXPECT_EQ(other.receive<protocol::Grant>().decision, GrantDecision::kDeny);
}

TEST_F(TrustPush, TellsTheCaKeyThatTookTheOldOnesPlace) {
    const Member web = add_member("web-7");
    const auto bob = add_person("bob");
    grant(bob, "web-*", {"deploy"});
    TestAgent agent = connect(web);
    EXPECT_THAT(agent.greet().trust.ca_keys, ElementsAre(ledger::ca_key().public_key().blob()));
    signer_.has_new_key = true;
    agent.send(fetch_of(bob, "deploy")); // which makes the issuer find out
    for (int i = 0; i < 2; ++i) {        // the grant, and in whichever order the trust
        const auto frame = agent.receive();
        ASSERT_TRUE(frame);
        if (frame->type != protocol::Type::kTrust) continue;
        EXPECT_THAT(take(protocol::decode<protocol::Trust>(*frame)).trust.ca_keys,
                    ElementsAre(signer_.key().public_key().blob()));
        return;
    }
    FAIL() << "the VM was not told";
}

TEST_F(TrustPush, AsksForARefreshOnceAccessWasTaken) {
    const Member web = add_member("web-7");
    const auto bob = add_person("bob");
    const auto rule = grant(bob, "web-*", {"deploy"});
    TestAgent agent = connect(web);
    agent.greet();
    take(write([&](Transaction& t) { return ledger::leave_group(t, rule.group, bob.user.id, "admin"); }));
    EXPECT_TRUE(agent.receive_up_to(protocol::Type::kRefresh));
    agent.send(fetch_of(bob, "deploy"));
    EXPECT_EQ(agent.receive<protocol::Grant>().decision, GrantDecision::kDeny);
}

TEST_F(TrustPush, LetsARemovedVmGo) {
    const Member web = add_member("web-7");
    TestAgent agent = connect(web);
    agent.greet();
    take(write([&](Transaction& t) { return ledger::remove_vm(t, web.vm.name, "admin"); }));
    ASSERT_TRUE(eventually([&] { return has_logged("let go vm=web-7"); }));
    clock_.advance(from_seconds(3)); // the time that it has to answer
    EXPECT_TRUE(agent.is_closed());
    EXPECT_TRUE(eventually([&] { return !hub_->connected(web.vm.id); }));
}

} // namespace
} // namespace latchkey::hub
