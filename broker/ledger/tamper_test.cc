// SPDX-License-Identifier: Apache-2.0
// Rows changed in the database by hand: absent on an allow path, in force where they take away.
#include "broker/ledger/audit.h"
#include "broker/ledger/ledger_for_tests.h"
#include "broker/ledger/policy_rows.h"
#include "broker/ledger/revocations.h"
#include "broker/ledger/vms.h"

namespace latchkey::ledger {
namespace {

std::int64_t number(RowId id) {
    return static_cast<std::int64_t>(id.value);
}

class TamperedRows : public LedgerTest {
protected:
    std::optional<User> find(std::string_view name) {
        return take(read([&](Transaction& t) { return find_user(t, user_name(name)); }));
    }
    std::optional<Key> find(const Key& key) {
        return take(read([&](Transaction& t) { return find_key(t, key.fingerprint); }));
    }
    std::vector<Rule> rules_of(const Person& person) {
        return take(read([&](Transaction& t) { return rules_for_user(t, person.user.id); }));
    }
    Group add_group_with_rule(std::string_view name) {
        return take(write([&](Transaction& t) -> Result<Group> {
            LK_TRY(group, add_group(t, take(GroupName::parse(name)), "root"));
            Rule rule;
            rule.group = group.id;
            rule.vm_selector = "web-*";
            rule.logins = {take(Login::parse("deploy"))};
            LK_TRY(added, add_rule(t, rule, "root"));
            return group;
        }));
    }
    void join(const Group& group, const Person& person) {
        take(write([&](Transaction& t) { return join_group(t, group.id, person.user.id, "root"); }));
    }
    bool is_unlocked(const Person& person) {
        return take(read([&](Transaction& t) { return live_unlock(t, person.user.id, person.key.id); }))
            .has_value();
    }
    std::vector<RevocationRow> in_force() {
        return take(read([](Transaction& t) { return revocations_after(t, Epoch{0}); }));
    }
};

TEST_F(TamperedRows, UserWithARaisedRoleIsAbsent) {
    const Person bob = add_person("bob");
    ASSERT_TRUE(find("bob"));
    by_hand("UPDATE users SET role = 3 WHERE name = 'bob'");
    EXPECT_FALSE(find("bob"));
    EXPECT_FALSE(take(read([&](Transaction& t) { return find_user(t, bob.user.id); })));
    EXPECT_TRUE(take(read([](Transaction& t) { return list_users(t); })).empty());
    EXPECT_FALSE(is_unlocked(bob));
    EXPECT_EQ(code_of(try_issue(bob)), Code::kNotFound);
    EXPECT_EQ(ledger_->tampered_rows(), 1u);
}

TEST_F(TamperedRows, LockedUserSetActiveIsAbsent) {
    add_person("bob");
    take(write([](Transaction& t) { return lock_user(t, user_name("bob"), "", "root"); }));
    by_hand("UPDATE users SET state = 1 WHERE name = 'bob'");
    EXPECT_FALSE(find("bob"));
}

TEST_F(TamperedRows, UserMadeUpIsAbsent) {
    add_person("bob");
    by_hand(
        "INSERT INTO users SELECT id + 1, version, 'mallory', email, 3, state, lock_reason, created_at, mac "
        "FROM users");
    EXPECT_FALSE(find("mallory"));
    EXPECT_TRUE(find("bob"));
}

TEST_F(TamperedRows, RuleWhoseWordOnSudoWasChangedIsAbsent) {
    const Person bob = add_person("bob");
    join(add_group_with_rule("dev"), bob);
    ASSERT_EQ(rules_of(bob).size(), 1u);
    for (const char* change :
         {"sudo = 2", "sudo_grace_seconds = 900", "sudo = 3, sudo_grace_seconds = 900"}) {
        by_hand(std::string("UPDATE rules SET ") + change);
        EXPECT_TRUE(rules_of(bob).empty()) << change;
        by_hand("UPDATE rules SET sudo = 1, sudo_grace_seconds = 0");
        EXPECT_EQ(rules_of(bob).size(), 1u);
    }
    by_hand("DELETE FROM rules");
    take(write([&](Transaction& t) -> Status {
        LK_TRY(group, find_group(t, take(GroupName::parse("dev"))));
        Rule rule;
        rule.group = group->id;
        rule.vm_selector = "web-*";
        rule.logins = {take(Login::parse("deploy"))};
        rule.sudo = protocol::SudoRule::kFactor;
        rule.sudo_grace_seconds = 300;
        LK_TRY(added, add_rule(t, rule, "root"));
        return {};
    }));
    ASSERT_EQ(rules_of(bob).size(), 1u);
    by_hand("UPDATE rules SET sudo = 1, sudo_grace_seconds = 0");
    EXPECT_TRUE(rules_of(bob).empty());
}

TEST_F(TamperedRows, ChangesDoNotMakeABadRowFitAgain) {
    add_person("bob");
    by_hand("UPDATE users SET role = 3 WHERE name = 'bob'");
    EXPECT_EQ(code_of(write([](Transaction& t) { return lock_user(t, user_name("bob"), "", "root"); })),
              Code::kTampered);
    EXPECT_EQ(code_of(write([](Transaction& t) { return unlock_user(t, user_name("bob"), "root"); })),
              Code::kTampered);
    take(write([](Transaction& t) {
        return revoke(t, {revocation::SelectorKind::kUser, "bob"}, "", "root");
    }));
    EXPECT_FALSE(find("bob"));
    take(write([](Transaction& t) { return remove_user(t, user_name("bob"), "root"); }));
    add_person("bob"); // the way out that the error names
    EXPECT_EQ(find("bob")->role, Role::kUser);
}

TEST_F(TamperedRows, SwappedKeyIsAbsent) {
    const Person bob = add_person("bob");
    const auto own = new_public_key();
    by_hand("UPDATE keys SET key_blob = $1, fingerprint = $2", {own.blob(), own.fingerprint().str()});
    EXPECT_FALSE(take(read([&](Transaction& t) { return find_key(t, own.fingerprint()); })));
    EXPECT_FALSE(find(bob.key));
    EXPECT_TRUE(take(read([&](Transaction& t) { return keys_of(t, bob.user.id); })).empty());
    EXPECT_FALSE(is_unlocked(bob));
    EXPECT_EQ(code_of(try_issue(bob)), Code::kNotFound);
}

TEST_F(TamperedRows, KeyGivenToAnotherPersonIsAbsent) {
    const Person bob = add_person("bob");
    const Person eve = add_person("eve");
    by_hand("UPDATE keys SET user_id = $1 WHERE user_id = $2", {number(bob.user.id), number(eve.user.id)});
    EXPECT_FALSE(find(eve.key));
    EXPECT_EQ(take(read([&](Transaction& t) { return keys_of(t, bob.user.id); })).size(), 1u);
}

TEST_F(TamperedRows, RemovedKeySetBackIsAbsent) {
    const Person bob = add_person("bob");
    take(write([&](Transaction& t) { return remove_key(t, bob.key.fingerprint, "bob"); }));
    by_hand("UPDATE keys SET state = 1");
    EXPECT_FALSE(find(bob.key));
}

TEST_F(TamperedRows, ProlongedUnlockIsAbsent) {
    const Person bob = add_person("bob");
    ASSERT_TRUE(is_unlocked(bob));
    by_hand("UPDATE unlocks SET ends_at = ends_at + 1");
    EXPECT_FALSE(is_unlocked(bob));
    EXPECT_EQ(code_of(try_issue(bob)), Code::kNotFound);
}

TEST_F(TamperedRows, EndedUnlockSetBackIsAbsent) {
    const Person bob = add_person("bob");
    take(write([&](Transaction& t) { return end_unlocks(t, bob.user.id, "bob"); }));
    by_hand("UPDATE unlocks SET ended_at = 0");
    EXPECT_FALSE(is_unlocked(bob));
}

TEST_F(TamperedRows, WidenedGrantIsAbsent) {
    const Person bob = add_person("bob");
    join(add_group_with_rule("dev"), bob);
    ASSERT_EQ(rules_of(bob).size(), 1u);
    for (const char* change : {"vm_selector = '*'", "logins = 'root'", "ttl_seconds = 86400",
                               "from_networks = '0.0.0.0/0'", "allowed = 'pty'", "command = '/bin/sh'"}) {
        by_hand("CREATE TABLE kept AS SELECT * FROM rules");
        by_hand(std::string("UPDATE rules SET ") + change);
        EXPECT_TRUE(rules_of(bob).empty()) << change;
        by_hand("DELETE FROM rules");
        by_hand("INSERT INTO rules SELECT * FROM kept");
        by_hand("DROP TABLE kept");
        EXPECT_EQ(rules_of(bob).size(), 1u) << change;
    }
}

TEST_F(TamperedRows, GrantMovedToAnotherGroupIsAbsent) {
    const Person bob = add_person("bob");
    const Group ops = add_group_with_rule("ops");
    const Group dev = add_group_with_rule("dev");
    join(dev, bob);
    by_hand("UPDATE rules SET group_id = $1 WHERE group_id = $2", {number(dev.id), number(ops.id)});
    EXPECT_EQ(rules_of(bob).size(), 1u);
}

TEST_F(TamperedRows, MovedMembershipIsAbsent) {
    const Person bob = add_person("bob");
    const Person eve = add_person("eve");
    const Group dev = add_group_with_rule("dev");
    const Group ops = add_group_with_rule("ops");
    join(dev, bob);
    join(ops, eve);
    by_hand("UPDATE members SET user_id = $1 WHERE group_id = $2", {number(eve.user.id), number(dev.id)});
    EXPECT_TRUE(rules_of(bob).empty());
    EXPECT_EQ(rules_of(eve).size(), 1u) << "that of ops alone";
    EXPECT_TRUE(take(read([&](Transaction& t) { return members_of(t, dev.id); })).empty());
    by_hand("DELETE FROM members WHERE group_id = $1", {number(dev.id)});
    by_hand("UPDATE members SET group_id = $1 WHERE group_id = $2", {number(dev.id), number(ops.id)});
    EXPECT_TRUE(rules_of(eve).empty());
    EXPECT_TRUE(take(read([&](Transaction& t) { return groups_of(t, eve.user.id); })).empty());
}

TEST_F(TamperedRows, RenamedGroupIsAbsent) {
    const Person bob = add_person("bob");
    join(add_group_with_rule("dev"), bob);
    by_hand("UPDATE user_groups SET name = 'admins'");
    EXPECT_TRUE(rules_of(bob).empty());
    EXPECT_FALSE(take(read([](Transaction& t) { return find_group(t, take(GroupName::parse("admins"))); })));
}

TEST_F(TamperedRows, VmWithAReplacedKeyIsAbsent) {
    const auto token = take(write(
        [](Transaction& t) { return add_join_token(t, 1, t.now + from_seconds(60), "*", {}, "root"); }));
    const auto name = take(VmName::parse("web-1"));
    take(write(
        [&](Transaction& t) { return join_vm(t, token.id, token.secret.view(), name, Bytes(32, 1), {}); }));
    by_hand("UPDATE vms SET raw_key = $1", {Bytes(32, 2)});
    EXPECT_FALSE(take(read([](Transaction& t) { return find_vm_by_key(t, Bytes(32, 2)); })));
    EXPECT_FALSE(take(read([&](Transaction& t) { return find_vm(t, name); })));
    take(write([&](Transaction& t) { return remove_vm(t, name, "root"); }));
}

TEST_F(TamperedRows, CertificateMadeUpIsAbsent) {
    const Person bob = add_person("bob");
    const CertificateRow row = issue(bob);
    by_hand("UPDATE certificates SET certificate = $1", {Bytes(100, 1)});
    EXPECT_FALSE(take(read([&](Transaction& t) { return find_certificate(t, row.serial); })));
    EXPECT_FALSE(newest_of(bob));
    EXPECT_EQ(take(read([&](Transaction& t) { return live_serials_of(t, bob.user.name, t.now); })).size(), 1U)
        << "what takes access away counts it all the same";
}

TEST_F(TamperedRows, ColumnsOfAnotherTypeAreAbsent) {
    LK_SQLITE_ONLY("a column of PostgreSQL has one type");
    const Person bob = add_person("bob");
    by_hand("UPDATE users SET name = 'Bob Smith', role = 'admin'");
    EXPECT_FALSE(take(read([&](Transaction& t) { return find_user(t, bob.user.id); })));
    by_hand("UPDATE keys SET key_blob = 'text', mac = 5");
    EXPECT_FALSE(find(bob.key));
}

TEST_F(TamperedRows, RevocationAlteredStaysInForceAsItWas) {
    const Person bob = add_person("bob");
    issue(bob);
    const auto made = take(write([](Transaction& t) {
        return revoke(t, {revocation::SelectorKind::kUser, "bob"}, "", "root");
    }));
    by_hand("UPDATE revocations SET text = 'nobody', drop_at = 0, made_at = 0");
    ASSERT_EQ(in_force().size(), 1u);
    EXPECT_EQ(in_force()[0].revocation, made.revocation);
}

TEST_F(TamperedRows, RevocationThatFailsItsCheckCoversAllBeforeTheNext) {
    const Person bob = add_person("bob");
    const Person eve = add_person("eve");
    const CertificateRow early = issue(bob);
    take(write([](Transaction& t) {
        return revoke(t, {revocation::SelectorKind::kUser, "bob"}, "", "root");
    }));
    clock_.advance(from_seconds(10));
    take(write([](Transaction& t) {
        return revoke(t, {revocation::SelectorKind::kUser, "bob"}, "again", "root");
    }));
    clock_.advance(from_seconds(10));
    const CertificateRow late = issue(eve);
    for (const char* change :
         {"UPDATE revocations SET record = mac WHERE epoch = 1",
          "UPDATE revocations SET mac = record WHERE epoch = 1", "DELETE FROM revocations WHERE epoch = 1"}) {
        by_hand(change);
        revocation::RevocationSet set;
        std::vector<revocation::Revocation> all;
        for (const RevocationRow& row : in_force()) all.push_back(row.revocation);
        ASSERT_EQ(all.size(), 2u) << change;
        EXPECT_EQ(all[0].epoch.value, 1u);
        take(set.replace(Epoch{2}, all));
        revocation::Credential credential;
        credential.user = user_name("zoe");
        credential.issued_at = early.issued_at;
        EXPECT_TRUE(set.covers(credential)) << change;
        credential.issued_at = late.issued_at;
        EXPECT_FALSE(set.covers(credential)) << change;
    }
    EXPECT_TRUE(take(read([](Transaction& t) { return find_revocation(t, Epoch{1}); })));
    clock_.advance(from_seconds(7200));
    EXPECT_TRUE(in_force().empty()) << "it ends with the last certificate that it may cover";
}

TEST_F(TamperedRows, EpochSetBackByHandDoesNotStopARevocation) {
    add_person("bob");
    const auto revoke_bob = [&] {
        return take(write([](Transaction& t) {
                   return revoke(t, {revocation::SelectorKind::kUser, "bob"}, "", "root");
               }))
            .revocation.epoch.value;
    };
    EXPECT_EQ(revoke_bob(), 1u);
    EXPECT_EQ(revoke_bob(), 2u);
    by_hand("UPDATE counters SET value = 0 WHERE name = 'epoch'");
    EXPECT_EQ(take(read([](Transaction& t) { return current_epoch(t); })).value, 2u);
    EXPECT_EQ(revoke_bob(), 3u);
    by_hand("DELETE FROM counters WHERE name = 'epoch'");
    EXPECT_EQ(revoke_bob(), 4u);
    EXPECT_GE(ledger_->tampered_rows(), 1u);
}

TEST_F(TamperedRows, AnEpochThatWasToldIsNotGivenAgainWhereItsRowAndTheCounterAreSetBack) {
    issue(add_person("bob"));
    std::vector<std::uint64_t> told;
    ledger_->on_epoch([&](Epoch epoch) { told.push_back(epoch.value); });
    const auto revoke_bob = [&] {
        return take(write([](Transaction& t) {
                   return revoke(t, {revocation::SelectorKind::kUser, "bob"}, "", "root");
               }))
            .revocation.epoch.value;
    };
    EXPECT_EQ(revoke_bob(), 1u);
    EXPECT_EQ(revoke_bob(), 2u);
    by_hand("DELETE FROM revocations WHERE epoch = 2");
    by_hand("UPDATE counters SET value = 1 WHERE name = 'epoch'");
    EXPECT_EQ(revoke_bob(), 3u);
    EXPECT_EQ(told, (std::vector<std::uint64_t>{1, 2, 3}));
    EXPECT_GE(ledger_->tampered_rows(), 1u);
    ASSERT_EQ(in_force().size(), 3u) << "what the lost one said is not known: all before the next is revoked";
    EXPECT_EQ(in_force()[1].revocation.selector.kind, revocation::SelectorKind::kBefore);
    EXPECT_EQ(revoke_bob(), 4u) << "and the counter is right again";
}

TEST_F(TamperedRows, AreToldInTheAuditOnceEach) {
    add_person("bob");
    by_hand("UPDATE users SET role = 3 WHERE name = 'bob'");
    for (int i = 0; i < 5; ++i) EXPECT_FALSE(find("bob"));
    take(write([](Transaction& t) { return append_audit(t, {"root", "test", "x", "done", "{}"}); }));
    const auto rows = by_hand("SELECT detail FROM audit WHERE action = 'row.tampered'");
    ASSERT_EQ(rows.rows.size(), 1u);
    EXPECT_NE(std::get<std::string>(rows.rows[0][0]).find("\"table\":\"users\""), std::string::npos);
    EXPECT_TRUE(read([](Transaction& t) { return verify_audit(t); }));
}

} // namespace
} // namespace latchkey::ledger
