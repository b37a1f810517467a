// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/users.h"

#include "broker/ledger/ledger_for_tests.h"
#include "broker/ledger/policy_rows.h"

namespace latchkey::ledger {
namespace {

class Users : public LedgerTest {
protected:
    std::optional<User> find(std::string_view name) {
        return take(read([&](Transaction& t) { return find_user(t, user_name(name)); }));
    }
};
class Keys : public LedgerTest {};
class Failures : public LedgerTest {};

TEST_F(Users, AreFoundByNameAndId) {
    const Person bob = add_person("bob");
    const auto by_name = find("bob");
    ASSERT_TRUE(by_name);
    EXPECT_EQ(by_name->email, "bob@example.org");
    EXPECT_EQ(by_name->role, Role::kUser);
    EXPECT_EQ(by_name->state, UserState::kActive);
    EXPECT_EQ(by_name->created_at, clock_.now());
    const auto by_id = take(read([&](Transaction& t) { return find_user(t, bob.user.id); }));
    ASSERT_TRUE(by_id);
    EXPECT_EQ(by_id->name, bob.user.name);
}

TEST_F(Users, AreNotFoundUnderOtherNames) {
    add_person("bob");
    EXPECT_FALSE(find("alice"));
    EXPECT_FALSE(take(read([&](Transaction& t) { return find_user(t, RowId{77}); })));
}

TEST_F(Users, HaveANameOnce) {
    add_person("bob");
    EXPECT_EQ(code_of(write(
                  [&](Transaction& t) { return add_user(t, user_name("bob"), "", Role::kAdmin, "admin"); })),
              Code::kExists);
    EXPECT_EQ(find("bob")->role, Role::kUser);
}

TEST_F(Users, AreListedByName) {
    add_person("zoe");
    add_person("adam");
    const auto users = take(read([](Transaction& t) { return list_users(t); }));
    ASSERT_EQ(users.size(), 2u);
    EXPECT_EQ(users[0].name.str(), "adam");
    EXPECT_EQ(users[1].name.str(), "zoe");
}

TEST_F(Users, ChangeTheirRole) {
    add_person("bob");
    take(write([](Transaction& t) { return set_user_role(t, user_name("bob"), Role::kAdmin, "root"); }));
    EXPECT_EQ(find("bob")->role, Role::kAdmin);
    EXPECT_EQ(code_of(write(
                  [](Transaction& t) { return set_user_role(t, user_name("eve"), Role::kAdmin, "root"); })),
              Code::kNotFound);
}

TEST_F(Users, LockEndsTheUnlocksAndUnlockOpensTheAccountAgain) {
    const Person bob = add_person("bob");
    take(write([](Transaction& t) { return lock_user(t, user_name("bob"), "laptop\nstolen", "root"); }));
    EXPECT_EQ(find("bob")->state, UserState::kLocked);
    EXPECT_EQ(find("bob")->lock_reason, "laptop?stolen");
    const auto live = [&] {
        return take(read([&](Transaction& t) { return live_unlock(t, bob.user.id, bob.key.id); }))
            .has_value();
    };
    EXPECT_FALSE(live());
    EXPECT_EQ(code_of(try_issue(bob)), Code::kExpired);

    take(write([](Transaction& t) { return unlock_user(t, user_name("bob"), "root"); }));
    EXPECT_EQ(find("bob")->state, UserState::kActive);
    EXPECT_EQ(find("bob")->lock_reason, "");
    EXPECT_FALSE(live()) << "the unlock that was ended stays ended";
}

TEST_F(Users, RemovedOnesLoseEverythingButTheirCertificates) {
    const Person bob = add_person("bob");
    const CertificateRow certificate = issue(bob);
    take(write([&](Transaction& t) -> Status {
        LK_TRY(group, add_group(t, take(GroupName::parse("dev")), "root"));
        LK_CHECK(join_group(t, group.id, bob.user.id, "root"));
        LK_TRY(factor, add_factor(t, bob.user.id, "totp", data_key(), "bob"));
        return remove_user(t, user_name("bob"), "root");
    }));
    EXPECT_FALSE(find("bob"));
    EXPECT_TRUE(take(read([](Transaction& t) { return list_users(t); })).empty());
    EXPECT_FALSE(take(read([&](Transaction& t) { return find_key(t, bob.key.fingerprint); })));
    EXPECT_TRUE(take(read([&](Transaction& t) { return factors_of(t, bob.user.id); })).empty());
    EXPECT_TRUE(take(read([&](Transaction& t) { return groups_of(t, bob.user.id); })).empty());
    EXPECT_TRUE(take(read([&](Transaction& t) { return live_unlocks(t, bob.user.id); })).empty());
    EXPECT_TRUE(take(read([&](Transaction& t) { return find_certificate(t, certificate.serial); })));
    const auto by_id = take(read([&](Transaction& t) { return find_user(t, bob.user.id); }));
    ASSERT_TRUE(by_id);
    EXPECT_EQ(by_id->state, UserState::kRemoved);
    EXPECT_EQ(code_of(write([](Transaction& t) { return remove_user(t, user_name("bob"), "root"); })),
              Code::kNotFound);

    add_person("bob"); // the name is free again, for another account
    EXPECT_NE(find("bob")->id, bob.user.id);
}

TEST_F(Keys, AreFoundByFingerprintWhileRegistered) {
    const Person bob = add_person("bob");
    const auto found = take(read([&](Transaction& t) { return find_key(t, bob.key.fingerprint); }));
    ASSERT_TRUE(found);
    EXPECT_EQ(found->blob, bob.key.blob);
    EXPECT_EQ(found->user, bob.user.id);
    EXPECT_EQ(found->name, "laptop");
    EXPECT_FALSE(take(read([](Transaction& t) { return find_key(t, new_public_key().fingerprint()); })));
}

TEST_F(Keys, BelongToOnePersonAtATime) {
    const Person bob = add_person("bob");
    const Person eve = add_person("eve");
    const auto key = take(keys::PublicKey::from_blob(bob.key.blob));
    const auto add_for_eve = [&] {
        return write([&](Transaction& t) { return add_key(t, eve.user.id, key, "mine", "eve"); });
    };
    EXPECT_EQ(code_of(add_for_eve()), Code::kExists);
    take(write([&](Transaction& t) { return remove_key(t, bob.key.fingerprint, "bob"); }));
    EXPECT_EQ(take(add_for_eve()).user, eve.user.id);
    EXPECT_EQ(take(read([&](Transaction& t) { return keys_of(t, eve.user.id); })).size(), 2u);
    EXPECT_TRUE(take(read([&](Transaction& t) { return keys_of(t, bob.user.id); })).empty());
}

TEST_F(Keys, RemovedOnesOpenNothing) {
    const Person bob = add_person("bob");
    take(write([&](Transaction& t) { return remove_key(t, bob.key.fingerprint, "bob"); }));
    EXPECT_FALSE(take(read([&](Transaction& t) { return live_unlock(t, bob.user.id, bob.key.id); })));
    EXPECT_FALSE(try_issue(bob));
    EXPECT_EQ(code_of(write([&](Transaction& t) { return remove_key(t, bob.key.fingerprint, "bob"); })),
              Code::kNotFound);
}

TEST_F(Keys, AreNotAddedToLockedAccounts) {
    const Person bob = add_person("bob");
    take(write([](Transaction& t) { return lock_user(t, user_name("bob"), "", "root"); }));
    EXPECT_EQ(
        code_of(write([&](Transaction& t) { return add_key(t, bob.user.id, new_public_key(), "", "bob"); })),
        Code::kLocked);
}

TEST_F(Failures, BlockAfterFiveWithinFifteenMinutesAndForLongerEachTime) {
    const Person bob = add_person("bob");
    const auto fail_once = [&] {
        return take(write([&](Transaction& t) { return note_failure(t, bob.user.id); }));
    };
    for (const std::int64_t minutes : {1, 5, 30, 120, 120}) {
        for (int i = 0; i < 4; ++i) EXPECT_EQ(fail_once().blocked_until.value, 0);
        const Micros until = fail_once().blocked_until;
        EXPECT_EQ(until, clock_.now() + from_seconds(minutes * 60));
        clock_.advance(from_seconds(minutes * 60) - Micros{1});
        EXPECT_EQ(take(read([&](Transaction& t) { return failure_state(t, bob.user.id); })).blocked_until,
                  until);
        clock_.advance({1});
        EXPECT_EQ(
            take(read([&](Transaction& t) { return failure_state(t, bob.user.id); })).blocked_until.value, 0);
    }
}

TEST_F(Failures, SpreadOverMoreThanFifteenMinutesDoNotBlock) {
    const Person bob = add_person("bob");
    for (int i = 0; i < 20; ++i) {
        const auto state = take(write([&](Transaction& t) { return note_failure(t, bob.user.id); }));
        EXPECT_EQ(state.blocked_until.value, 0);
        clock_.advance(from_seconds(4 * 60));
    }
}

TEST_F(Failures, AreForgottenAfterASuccess) {
    const Person bob = add_person("bob");
    for (int i = 0; i < 5; ++i) take(write([&](Transaction& t) { return note_failure(t, bob.user.id); }));
    take(write([&](Transaction& t) { return clear_failures(t, bob.user.id); }));
    const auto state = take(read([&](Transaction& t) { return failure_state(t, bob.user.id); }));
    EXPECT_EQ(state.blocked_until.value, 0);
    EXPECT_EQ(state.recent, 0u);
}

} // namespace
} // namespace latchkey::ledger
