// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/revocations.h"

#include <thread>

#include "broker/ledger/ledger_for_tests.h"
#include "broker/ledger/vms.h"

namespace latchkey::ledger {
namespace {

using revocation::Selector;
using revocation::SelectorKind;

class Revocations : public LedgerTest {
protected:
    Result<RevocationRow> try_revoke(SelectorKind kind, const std::string& text) {
        return write([&](Transaction& t) { return revoke(t, {kind, text}, "laptop stolen", "root"); });
    }
    RevocationRow make(SelectorKind kind, const std::string& text) { return take(try_revoke(kind, text)); }
    std::vector<RevocationRow> after(std::uint64_t epoch) {
        return take(read([&](Transaction& t) { return revocations_after(t, Epoch{epoch}); }));
    }
    bool is_covered(const CertificateRow& row, const Person& person) {
        revocation::RevocationSet set;
        std::vector<revocation::Revocation> all;
        for (const RevocationRow& one : after(0)) all.push_back(one.revocation);
        const Epoch epoch = take(read([](Transaction& t) { return current_epoch(t); }));
        take(set.replace(epoch, all));
        return set
            .covers({.user = person.user.name,
                     .key = row.key_fingerprint,
                     .serial = row.serial,
                     .ca = row.ca_fingerprint,
                     .vm = take(VmName::parse("web-1")),
                     .issued_at = row.issued_at})
            .has_value();
    }
    Vm add_vm(std::string_view name) {
        const auto token = take(write(
            [](Transaction& t) { return add_join_token(t, 1, t.now + from_seconds(60), "*", {}, "root"); }));
        return take(write([&](Transaction& t) {
            return join_vm(t, token.id, token.secret.view(), take(VmName::parse(name)),
                           Bytes(32, static_cast<std::uint8_t>(name.back())), {});
        }));
    }
};

TEST_F(Revocations, OfAUserLockTheAccountAndCoverWhatWasIssued) {
    const Person bob = add_person("bob");
    const Person eve = add_person("eve");
    const CertificateRow of_bob = issue(bob);
    const CertificateRow of_eve = issue(eve);
    const RevocationRow row = make(SelectorKind::kUser, "bob");
    EXPECT_EQ(row.revocation.epoch.value, 1u);
    EXPECT_EQ(row.revocation.drop_at, of_bob.ends_at);
    EXPECT_TRUE(is_covered(of_bob, bob));
    EXPECT_FALSE(is_covered(of_eve, eve));
    EXPECT_EQ(take(read([](Transaction& t) { return find_user(t, user_name("bob")); }))->state,
              UserState::kLocked);
    EXPECT_FALSE(try_issue(bob));
    EXPECT_TRUE(try_issue(eve));

    clock_.advance(from_seconds(1));
    take(write([](Transaction& t) { return unlock_user(t, user_name("bob"), "root"); }));
    const Unlock unlock = take(write([&](Transaction& t) {
        return open_unlock(t, bob.user.id, bob.key.id, t.now + from_seconds(3600), t.now, "bob");
    }));
    EXPECT_FALSE(is_covered(issue({bob.user, bob.key, unlock}), bob)) << "issued after it was made";
}

TEST_F(Revocations, OfAKeyTakeTheKeyAway) {
    const Person bob = add_person("bob");
    const CertificateRow row = issue(bob);
    make(SelectorKind::kKey, bob.key.fingerprint.str());
    EXPECT_FALSE(take(read([&](Transaction& t) { return find_key(t, bob.key.fingerprint); })));
    EXPECT_FALSE(take(read([&](Transaction& t) { return live_unlock(t, bob.user.id, bob.key.id); })));
    EXPECT_TRUE(is_covered(row, bob));
    EXPECT_EQ(take(read([](Transaction& t) { return find_user(t, user_name("bob")); }))->state,
              UserState::kActive);
}

TEST_F(Revocations, OfACertificateCoverItAlone) {
    const Person bob = add_person("bob");
    const CertificateRow first = issue(bob, from_seconds(1800));
    const CertificateRow second = issue(bob);
    const RevocationRow row = make(SelectorKind::kCertificate, std::to_string(first.serial.value));
    EXPECT_EQ(row.revocation.drop_at, first.ends_at);
    EXPECT_TRUE(is_covered(first, bob));
    EXPECT_FALSE(is_covered(second, bob));
}

TEST_F(Revocations, OfVmCaAndTimeLastAsLongAsAnyCertificate) {
    const Person bob = add_person("bob");
    add_vm("web-1");
    const CertificateRow row = issue(bob, from_seconds(7200));
    EXPECT_EQ(make(SelectorKind::kVm, "web-1").revocation.drop_at, row.ends_at);
    EXPECT_EQ(make(SelectorKind::kCa, row.ca_fingerprint.str()).revocation.drop_at, row.ends_at);
    const std::string now = std::to_string(clock_.now().value);
    EXPECT_EQ(make(SelectorKind::kBefore, now).revocation.drop_at, row.ends_at);
    EXPECT_EQ(after(0).size(), 3u);
    EXPECT_EQ(after(2).size(), 1u);
    EXPECT_TRUE(after(3).empty());
}

TEST_F(Revocations, OfWhatWasNeverHereAreRefusedAndTakeNoEpoch) {
    add_person("bob");
    EXPECT_EQ(code_of(try_revoke(SelectorKind::kUser, "eve")), Code::kNotFound);
    EXPECT_EQ(code_of(try_revoke(SelectorKind::kKey, new_public_key().fingerprint().str())), Code::kNotFound);
    EXPECT_EQ(code_of(try_revoke(SelectorKind::kCertificate, "77")), Code::kNotFound);
    EXPECT_EQ(code_of(try_revoke(SelectorKind::kVm, "web-1")), Code::kNotFound);
    EXPECT_EQ(code_of(try_revoke(SelectorKind::kCa, new_public_key().fingerprint().str())), Code::kNotFound);
    EXPECT_EQ(code_of(try_revoke(SelectorKind::kBefore, std::to_string(clock_.now().value + 1))),
              Code::kUsage);
    EXPECT_EQ(code_of(try_revoke(SelectorKind::kBefore, "yesterday")), Code::kMalformed);
    EXPECT_EQ(code_of(try_revoke(SelectorKind::kUser, "no such name!")), Code::kMalformed);
    EXPECT_EQ(take(read([](Transaction& t) { return current_epoch(t); })).value, 0u);
    EXPECT_EQ(make(SelectorKind::kUser, "bob").revocation.epoch.value, 1u);
}

TEST_F(Revocations, OfRemovedUsersStillCoverTheirCertificates) {
    const Person bob = add_person("bob");
    const CertificateRow row = issue(bob);
    take(write([](Transaction& t) { return remove_user(t, user_name("bob"), "root"); }));
    EXPECT_EQ(make(SelectorKind::kUser, "bob").revocation.drop_at, row.ends_at);
    EXPECT_TRUE(is_covered(row, bob));
}

TEST_F(Revocations, AreDroppedOnceTheLastCertificateEndedButStayListed) {
    const Person bob = add_person("bob");
    const CertificateRow row = issue(bob);
    make(SelectorKind::kUser, "bob");
    clock_.advance(row.ends_at - clock_.now() - Micros{1});
    EXPECT_EQ(after(0).size(), 1u);
    clock_.advance({1});
    EXPECT_TRUE(after(0).empty());
    const auto listed = take(read([](Transaction& t) { return list_revocations(t); }));
    ASSERT_EQ(listed.size(), 1u);
    EXPECT_EQ(listed[0].reason, "laptop stolen");
    EXPECT_EQ(listed[0].actor, "root");
    EXPECT_TRUE(take(read([](Transaction& t) { return find_revocation(t, Epoch{1}); })));
    EXPECT_FALSE(take(read([](Transaction& t) { return find_revocation(t, Epoch{2}); })));
    EXPECT_FALSE(take(read([](Transaction& t) { return find_revocation(t, Epoch{0}); })));
}

TEST_F(Revocations, CoverWhatWasIssuedBeforeAClockWentBack) {
    const Person bob = add_person("bob");
    const CertificateRow row = issue(bob);
    clock_.advance(from_seconds(-30));
    make(SelectorKind::kUser, "bob");
    EXPECT_TRUE(is_covered(row, bob));
}

TEST_F(Revocations, TellTheEpochAfterTheCommit) {
    add_person("bob");
    std::vector<std::uint64_t> heard;
    ledger_->on_epoch([&](Epoch epoch) { heard.push_back(epoch.value); });
    make(SelectorKind::kUser, "bob");
    EXPECT_FALSE(try_revoke(SelectorKind::kUser, "eve"));
    make(SelectorKind::kUser, "bob");
    EXPECT_EQ(heard, (std::vector<std::uint64_t>{1, 2}));
}

TEST_F(Revocations, LongEndedAreNotReadAgainAndNoneInForceIsLeftOut) {
    const Person bob = add_person("bob");
    const auto make_many = [&](int count) {
        take(write([&](Transaction& t) -> Status {
            for (int i = 0; i < count; ++i) {
                const auto row = revoke(t, {SelectorKind::kUser, "bob"}, "", "root");
                if (!row) return fail(row.error());
            }
            return {};
        }));
    };
    make_many(200); // nothing is issued: they end at once
    issue(add_person("eve"), from_seconds(3600));
    make(SelectorKind::kBefore, std::to_string(clock_.now().value));
    make_many(55);
    clock_.advance({1});
    EXPECT_EQ(by_hand("SELECT value FROM settings WHERE name = 'revocations.ended'").rows.size(), 1u);
    ASSERT_EQ(after(0).size(), 1u);
    EXPECT_EQ(after(0)[0].revocation.epoch.value, 201u);
    EXPECT_EQ(take(read([](Transaction& t) { return list_revocations(t); })).size(), 256u);

    by_hand("UPDATE settings SET value = '256' WHERE name = 'revocations.ended'");
    EXPECT_EQ(after(0).size(), 1u) << "raised by hand it is not believed";
}

class Receipts : public Revocations {
protected:
    static protocol::Receipt receipt(const Vm& vm, std::uint64_t epoch) {
        protocol::Receipt made;
        made.epoch = {epoch};
        made.vm_id = vm.id;
        made.sessions_found = 2;
        made.sessions_ended = 2;
        made.signature = Bytes(64, 3);
        return made;
    }
    Status record(const Vm& vm, const protocol::Receipt& made) {
        return write([&](Transaction& t) { return record_receipt(t, vm.id, made); });
    }
};

TEST_F(Receipts, AreKeptOncePerVmAndEpoch) {
    add_person("bob");
    const Vm vm = add_vm("web-1");
    make(SelectorKind::kUser, "bob");
    take(record(vm, receipt(vm, 1)));
    take(record(vm, receipt(vm, 1)));
    const auto receipts = take(read([](Transaction& t) { return receipts_for(t, Epoch{1}); }));
    ASSERT_EQ(receipts.size(), 1u);
    EXPECT_EQ(receipts[0].vm_name.str(), "web-1");
    EXPECT_EQ(receipts[0].receipt.sessions_ended, 2u);
    EXPECT_EQ(receipts[0].receipt.signature, Bytes(64, 3));
    EXPECT_EQ(take(read([](Transaction& t) {
                  return find_vm(t, take(VmName::parse("web-1")));
              }))->confirmed_epoch.value,
              1u);
}

TEST_F(Receipts, OfAReconnectAddNothingButWhatIsNewIsKeptBeside) {
    add_person("bob");
    const Vm vm = add_vm("web-1");
    make(SelectorKind::kUser, "bob");
    protocol::Receipt troubled = receipt(vm, 1);
    troubled.sessions_ended = 1;
    troubled.trouble = "session 5 of bob could not be ended";
    take(record(vm, troubled));
    protocol::Receipt back = receipt(vm, 1);
    back.sessions_found = back.sessions_ended = 0;
    take(record(vm, back)); // the trouble is over: that is news
    back.time = {77};
    take(record(vm, back)); // it came back once more: that is none
    auto kept = take(read([](Transaction& t) { return receipts_for(t, Epoch{1}); }));
    ASSERT_EQ(kept.size(), 2u);
    EXPECT_EQ(kept[0].receipt.trouble, troubled.trouble);
    EXPECT_EQ(kept[1].receipt.time.value, 0);
    for (std::uint32_t found = 1; found < 20; ++found) {
        back.sessions_found = found;
        take(record(vm, back));
    }
    kept = take(read([](Transaction& t) { return receipts_for(t, Epoch{1}); }));
    EXPECT_EQ(kept.size(), 8u) << "one VM cannot make us keep any number";
    EXPECT_EQ(kept.back().receipt.sessions_found, 19u);
}

TEST_F(Receipts, ForLaterEpochsAreFoundByTheirVm) {
    add_person("bob");
    const Vm vm = add_vm("web-1");
    const Vm other = add_vm("web-2");
    for (int i = 0; i < 4; ++i) make(SelectorKind::kUser, "bob");
    take(record(vm, receipt(vm, 2)));
    take(record(vm, receipt(vm, 4)));
    const auto epoch_of = [&](auto find, const Vm& of, std::uint64_t since) {
        const auto row = take(read([&](Transaction& t) { return find(t, of.id, Epoch{since}); }));
        return row ? row->epoch.value : 0;
    };
    EXPECT_EQ(epoch_of(first_receipt_since, vm, 1), 2u);
    EXPECT_EQ(epoch_of(first_receipt_since, vm, 3), 4u);
    EXPECT_EQ(epoch_of(last_receipt_since, vm, 1), 4u);
    EXPECT_EQ(epoch_of(last_receipt_since, vm, 5), 0u);
    EXPECT_EQ(epoch_of(first_receipt_since, other, 1), 0u);
    const auto row = take(read([&](Transaction& t) { return first_receipt_since(t, vm.id, Epoch{1}); }));
    EXPECT_EQ(row->vm_key, take(public_key_of(vm.key)).fingerprint());
}

TEST_F(Revocations, OfAVmRemoveItAndThoseOfOthersDoNot) {
    add_person("bob");
    add_vm("web-1");
    add_vm("web-2");
    make(SelectorKind::kVm, "web-1");
    const auto vms = take(read([](Transaction& t) { return list_vms(t); }));
    ASSERT_EQ(vms.size(), 1u);
    EXPECT_EQ(vms[0].name.str(), "web-2");
    EXPECT_EQ(
        take(read([](Transaction& t) { return removed_vms_named(t, take(VmName::parse("web-1"))); })).size(),
        1u);
    make(SelectorKind::kVm, "web-1"); // once more: it was here
    EXPECT_EQ(by_hand("SELECT 1 FROM audit WHERE action = 'vm.remove'").rows.size(), 1u);
}

TEST_F(Revocations, SayNothingOfAccessTakenBecauseTheySayMore) {
    const Person bob = add_person("bob");
    int taken = 0;
    ledger_->on_access_taken([&] { ++taken; });
    make(SelectorKind::kKey, bob.key.fingerprint.str());
    make(SelectorKind::kUser, "bob");
    EXPECT_EQ(taken, 0);
    add_person("eve");
    take(write([](Transaction& t) { return lock_user(t, user_name("eve"), "left", "root"); }));
    EXPECT_EQ(taken, 1) << "a lock alone must still be told";
}

TEST_F(Receipts, OfOtherVmsAndUnknownEpochsAreRefused) {
    add_person("bob");
    const Vm vm = add_vm("web-1");
    const Vm other = add_vm("web-2");
    make(SelectorKind::kUser, "bob");
    EXPECT_EQ(code_of(record(vm, receipt(other, 1))), Code::kRefused);
    EXPECT_EQ(code_of(record(vm, receipt(vm, 2))), Code::kRefused);
    EXPECT_EQ(code_of(record(vm, receipt(vm, 0))), Code::kRefused);
    EXPECT_TRUE(take(read([](Transaction& t) { return receipts_for(t, Epoch{1}); })).empty());
}

} // namespace
} // namespace latchkey::ledger
