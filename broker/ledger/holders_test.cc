// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/holders.h"

#include "broker/ledger/counting_store_for_tests.h"
#include "broker/ledger/ledger_for_tests.h"
#include "broker/ledger/revocations.h"

namespace latchkey::ledger {
namespace {

class Holders : public LedgerTest {
protected:
    std::optional<Holder> holder_of(const Person& person) {
        return take(read([&](Transaction& t) { return find_holder(t, person.key.fingerprint); }));
    }
    std::optional<Holding> holding_of(const Person& person) {
        return take(read([&](Transaction& t) { return find_holding(t, person.key.fingerprint); }));
    }
    static std::int64_t number(RowId id) { return static_cast<std::int64_t>(id.value); }
};

TEST_F(Holders, AreFoundWithTheirUnlockNewestCertificateAndEpoch) {
    const Person bob = add_person("bob");
    const Person eve = add_person("eve");
    issue(bob);
    const CertificateRow newest = issue(bob);
    issue(eve);
    take(write([](Transaction& t) {
        return revoke(t, {revocation::SelectorKind::kUser, "eve"}, "", "root");
    }));
    const auto holding = holding_of(bob);
    ASSERT_TRUE(holding);
    EXPECT_EQ(holding->holder.user.name, bob.user.name);
    EXPECT_EQ(holding->holder.key.id, bob.key.id);
    ASSERT_TRUE(holding->holder.unlock);
    EXPECT_EQ(holding->holder.unlock->id, bob.unlock.id);
    ASSERT_TRUE(holding->newest);
    EXPECT_EQ(holding->newest->serial, newest.serial);
    EXPECT_EQ(holding->epoch.value, 1u);
    const auto holder = holder_of(bob);
    ASSERT_TRUE(holder);
    ASSERT_TRUE(holder->unlock);
    EXPECT_EQ(holder->unlock->id, bob.unlock.id);
}

TEST_F(Holders, OfAKeyThatIsNotRegisteredAreNobody) {
    const Person bob = add_person("bob");
    take(write([&](Transaction& t) { return remove_key(t, bob.key.fingerprint, "root"); }));
    EXPECT_FALSE(holder_of(bob));
    EXPECT_FALSE(holding_of(bob));
}

TEST_F(Holders, WithoutALiveUnlockHaveNoCertificateEither) {
    const Person bob = add_person("bob");
    const Person eve = add_person("eve");
    const Person mallory = add_person("mallory");
    for (const Person& person : {bob, eve, mallory}) issue(person, from_seconds(3600));
    take(write([&](Transaction& t) { return end_unlocks(t, bob.user.id, "bob"); }));
    take(write([&](Transaction& t) { return lock_user(t, eve.user.name, "", "root"); }));
    by_hand("UPDATE unlocks SET ended_at = 0 WHERE user_id = $1", {number(eve.user.id)});
    for (const Person& person : {bob, eve}) {
        const auto holding = holding_of(person);
        ASSERT_TRUE(holding) << "whose key it is stays known";
        EXPECT_FALSE(holding->holder.unlock);
        EXPECT_FALSE(holding->newest);
        EXPECT_FALSE(holder_of(person)->unlock);
    }
    EXPECT_TRUE(holding_of(mallory)->newest);
    clock_.advance(from_seconds(3600));
    EXPECT_FALSE(holding_of(mallory)->newest) << "it has ended";
    EXPECT_TRUE(holding_of(mallory)->holder.unlock);
    clock_.advance(from_seconds(12 * 3600));
    EXPECT_FALSE(holding_of(mallory)->holder.unlock);
}

// The older row that fits counts, not the newer one that does not.
TEST_F(Holders, AreFoundBehindRowsThatFailTheirCheck) {
    const Person bob = add_person("bob");
    const CertificateRow good = issue(bob);
    const CertificateRow bad = issue(bob);
    by_hand("UPDATE certificates SET certificate = $1 WHERE sequence = $2",
            {Bytes(100, 1), static_cast<std::int64_t>(bad.sequence.value)});
    by_hand(
        "INSERT INTO unlocks (id, version, user_id, key_id, opened_at, ends_at, factor_at, ended_at, mac, "
        "certificates) SELECT id + 1, version, user_id, key_id, opened_at + 1, ends_at + 1, factor_at, "
        "ended_at, mac, certificates FROM unlocks");
    const auto holding = holding_of(bob);
    ASSERT_TRUE(holding);
    ASSERT_TRUE(holding->holder.unlock);
    EXPECT_EQ(holding->holder.unlock->id, bob.unlock.id);
    EXPECT_EQ(holder_of(bob)->unlock->id, bob.unlock.id);
    ASSERT_TRUE(holding->newest);
    EXPECT_EQ(holding->newest->serial, good.serial);
    EXPECT_EQ(ledger_->tampered_rows(), 2u);
}

TEST_F(Holders, WhoseKeyOrUserFailsItsCheckAreNobody) {
    const Person bob = add_person("bob");
    const Person eve = add_person("eve");
    by_hand("UPDATE keys SET user_id = $1 WHERE id = $2", {number(eve.user.id), number(bob.key.id)});
    EXPECT_FALSE(holder_of(bob));
    EXPECT_FALSE(holding_of(bob));
    by_hand("UPDATE users SET role = 3 WHERE id = $1", {number(eve.user.id)});
    EXPECT_FALSE(holder_of(eve));
    EXPECT_FALSE(holding_of(eve));
}

TEST_F(Holders, CostOneRoundTrip) {
    const Person bob = add_person("bob");
    issue(bob);
    Counted counted;
    CountingStore counting(*store_, counted);
    const auto ledger =
        take(Ledger::open(counting, {.data_key = data_key(), .clock = &clock_, .readers = 1}));
    counted.runs = 0;
    take(ledger->read([&](Transaction& t) { return find_holding(t, bob.key.fingerprint); }));
    EXPECT_EQ(counted.runs, 1);
}

} // namespace
} // namespace latchkey::ledger
