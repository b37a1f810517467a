// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/restore.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "broker/ledger/audit.h"
#include "broker/ledger/contradictions.h"
#include "broker/ledger/ledger_for_tests.h"
#include "broker/ledger/revocations.h"
#include "broker/ledger/vms.h"

namespace latchkey::ledger {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class SetBack : public LedgerTest {
protected:
    RevocationRow revoke_all_of_it(Epoch at_least = {}, Accounts accounts = Accounts::kAsTheyAre) {
        return take(write([&](Transaction& t) { return revoke_all(t, how(at_least, accounts)); }));
    }
    static RevokeAll how(Epoch at_least, Accounts accounts) {
        return {.at_least = at_least,
                .longest_certificate = from_seconds(86400),
                .accounts = accounts,
                .reason = "restored",
                .actor = "latchkeyd"};
    }
    RevocationRow revoke_user(std::string_view name) {
        const auto selector = take(revocation::Selector::parse("user", name));
        return take(write([&](Transaction& t) { return revoke(t, selector, "a test", "admin"); }));
    }
    // Whether what VMs are told covers it.
    bool is_covered(const CertificateRow& row, std::string_view user) {
        const auto rows = take(read([](Transaction& t) { return revocations_after(t, Epoch{0}); }));
        std::vector<revocation::Revocation> entries;
        Epoch epoch;
        for (const RevocationRow& one : rows) {
            entries.push_back(one.revocation);
            epoch = one.revocation.epoch;
        }
        revocation::RevocationSet set;
        take(set.replace(epoch, std::move(entries)));
        return set
            .covers({.user = user_name(user),
                     .key = row.key_fingerprint,
                     .serial = row.serial,
                     .ca = row.ca_fingerprint,
                     .vm = {},
                     .issued_at = row.issued_at})
            .has_value();
    }
    std::size_t live_unlocks_of(const Person& person) {
        return take(read([&](Transaction& t) { return live_unlocks(t, person.user.id); })).size();
    }
};

TEST_F(SetBack, GoesAboveWhatAnyVmHasSeenAndCoversWhatWasIssued) {
    const Person bob = add_person("bob");
    const CertificateRow before = issue(bob);
    revoke_user("bob");
    EXPECT_EQ(revoke_all_of_it().revocation.epoch.value, 1 + kLostAtMost);
    EXPECT_EQ(take(read([](Transaction& t) { return current_epoch(t); })).value, 1 + kLostAtMost);
    EXPECT_TRUE(is_covered(before, "carol")); // by what is revoked, whoever has it
    clock_.advance(from_seconds(1));

    const Person carol = add_person("carol");
    const CertificateRow after = issue(carol);
    EXPECT_FALSE(is_covered(after, "carol"));
    EXPECT_GT(after.sequence.value, before.sequence.value + kLostAtMost);
    EXPECT_EQ(revoke_user("carol").revocation.epoch.value, 2 + kLostAtMost);
}

TEST_F(SetBack, CoversACertificateThatTheLedgerHasLost) {
    const Person bob = add_person("bob");
    CertificateRow lost = issue(bob); // stands for one of after the backup
    by_hand("DELETE FROM certificates");
    const RevocationRow row = revoke_all_of_it();
    EXPECT_TRUE(is_covered(lost, "bob"));
    EXPECT_GE(row.revocation.drop_at, clock_.now() + from_seconds(86400));
}

TEST_F(SetBack, TakesTheEpochsThatItLeavesOutForRevokedAndNotForTampered) {
    issue(add_person("bob"));
    revoke_user("bob");
    revoke_all_of_it(Epoch{40});
    const auto rows = take(read([](Transaction& t) { return revocations_after(t, Epoch{0}); }));
    std::vector<std::uint64_t> epochs;
    for (const RevocationRow& row : rows) epochs.push_back(row.revocation.epoch.value);
    EXPECT_THAT(epochs, ElementsAre(1, 40));
    EXPECT_EQ(ledger_->tampered_rows(), 0U);
    EXPECT_THAT(take(read([](Transaction& t) { return find_contradictions(t); })), IsEmpty());
    // A lost row elsewhere is one still.
    by_hand("DELETE FROM revocations WHERE epoch = 40");
    EXPECT_EQ(take(read([](Transaction& t) { return revocations_after(t, Epoch{1}); })).size(), 1U);
    EXPECT_EQ(ledger_->tampered_rows(), 1U);
}

TEST_F(SetBack, RefusesAnEpochThatIsNotAboveItsOwn) {
    add_person("bob");
    revoke_user("bob");
    for (const std::uint64_t epoch : {std::uint64_t{1}, UINT64_MAX}) {
        EXPECT_EQ(code_of(write([&](Transaction& t) {
                      return revoke_all(t, how(Epoch{epoch}, Accounts::kAsTheyAre));
                  })),
                  Code::kUsage);
    }
    EXPECT_EQ(take(read([](Transaction& t) { return current_epoch(t); })).value, 1U);
}

TEST_F(SetBack, LetsNobodyGoOnWithoutANewCode) {
    const Person bob = add_person("bob");
    const auto code = take(write(
        [&](Transaction& t) { return add_invite(t, bob.user.id, t.now + from_seconds(3600), "admin"); }));
    const auto token = take(write(
        [&](Transaction& t) { return add_join_token(t, 5, t.now + from_seconds(3600), "*", {}, "admin"); }));
    revoke_all_of_it();
    EXPECT_EQ(live_unlocks_of(bob), 0U);
    EXPECT_EQ(code_of(try_issue(bob)), Code::kExpired);
    EXPECT_EQ(code_of(read([&](Transaction& t) { return check_invite(t, code); })), Code::kNotFound);
    EXPECT_EQ(code_of(write([&](Transaction& t) {
                  return join_vm(t, token.id, token.secret.view(), take(VmName::parse("web-1")),
                                 new_public_key().raw_ed25519(), {});
              })),
              Code::kNotFound);
    EXPECT_EQ(take(read([&](Transaction& t) { return find_user(t, bob.user.id); }))->state,
              UserState::kActive);
    EXPECT_TRUE(read([](Transaction& t) { return verify_audit(t); }));
}

TEST_F(SetBack, LocksAllButAdminsWhereAsked) {
    const Person bob = add_person("bob");
    const Person alice = add_person("alice");
    take(write([&](Transaction& t) { return set_user_role(t, alice.user.name, Role::kAdmin, "admin"); }));
    revoke_all_of_it({}, Accounts::kLocked);
    EXPECT_EQ(take(read([&](Transaction& t) { return find_user(t, bob.user.id); }))->state,
              UserState::kLocked);
    EXPECT_EQ(take(read([&](Transaction& t) { return find_user(t, alice.user.id); }))->state,
              UserState::kActive);
    EXPECT_EQ(live_unlocks_of(alice), 0U);
}

} // namespace
} // namespace latchkey::ledger
