// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/factors.h"

#include "broker/ledger/ledger_for_tests.h"

namespace latchkey::ledger {
namespace {

class FactorRows : public LedgerTest {
protected:
    FactorRow add(const Person& person, std::uint8_t fill = 1) {
        return take(write([&](Transaction& t) {
            return add_factor(t, person.user.id, "totp", SecretBytes::adopt(Bytes(20, fill)), "x");
        }));
    }
    std::vector<FactorRow> of(const Person& person) {
        return take(read([&](Transaction& t) { return factors_of(t, person.user.id); }));
    }
    Status replace(const FactorRow& factor, std::uint64_t version) {
        return write([&](Transaction& t) {
            return replace_factor_state(t, factor.id, version, SecretBytes::adopt(Bytes(20, 2)));
        });
    }
};
class Invites : public LedgerTest {
protected:
    std::string invite(const Person& person) {
        return take(write([&](Transaction& t) {
            return add_invite(t, person.user.id, t.now + from_seconds(24 * 3600), "root");
        }));
    }
    Result<User> check(std::string_view code) {
        return read([&](Transaction& t) { return check_invite(t, code); });
    }
    Status spend(std::string_view code) {
        return write([&](Transaction& t) { return spend_invite(t, code); });
    }
};
class Unlocks : public LedgerTest {
protected:
    std::optional<Unlock> live(const Person& person) {
        return take(read([&](Transaction& t) { return live_unlock(t, person.user.id, person.key.id); }));
    }
};

TEST_F(FactorRows, KeepTheirStateSealed) {
    const Person bob = add_person("bob");
    add(bob, 0x5a);
    const auto factors = of(bob);
    ASSERT_EQ(factors.size(), 1u);
    EXPECT_EQ(to_bytes(factors[0].state.view()), Bytes(20, 0x5a));
    const auto stored = by_hand("SELECT sealed FROM factors");
    const std::string text(as_text(std::get<Bytes>(stored.rows[0][0])));
    EXPECT_EQ(text.find(std::string(4, 0x5a)), std::string::npos);
}

TEST_F(FactorRows, AreReplacedOnceAVersion) {
    const Person bob = add_person("bob");
    const FactorRow factor = add(bob);
    take(replace(factor, 1));
    EXPECT_EQ(code_of(replace(factor, 1)), Code::kConflict);
    EXPECT_EQ(of(bob)[0].version, 2u);
    EXPECT_EQ(to_bytes(of(bob)[0].state.view()), Bytes(20, 2));
    take(replace(factor, 2));
}

TEST_F(FactorRows, StateMovedToAnotherRowIsRefused) {
    const Person bob = add_person("bob");
    const Person eve = add_person("eve");
    const FactorRow of_bob = add(bob, 1);
    const FactorRow of_eve = add(eve, 2);
    by_hand("UPDATE factors SET sealed = (SELECT sealed FROM factors WHERE id = $1) WHERE id = $2",
            {static_cast<std::int64_t>(of_eve.id.value), static_cast<std::int64_t>(of_bob.id.value)});
    EXPECT_TRUE(of(bob).empty());
    EXPECT_EQ(of(eve).size(), 1u);
    EXPECT_EQ(code_of(replace(of_bob, 1)), Code::kTampered);
    EXPECT_EQ(ledger_->tampered_rows(), 1u);
}

TEST_F(FactorRows, FactorGivenToAnotherPersonIsRefused) {
    const Person bob = add_person("bob");
    const Person eve = add_person("eve");
    add(eve);
    by_hand("UPDATE factors SET user_id = $1", {static_cast<std::int64_t>(bob.user.id.value)});
    EXPECT_TRUE(of(bob).empty());
    EXPECT_TRUE(of(eve).empty());
}

TEST_F(FactorRows, AreRemovedByTheirOwnerAlone) {
    const Person bob = add_person("bob");
    const Person eve = add_person("eve");
    const FactorRow factor = add(bob);
    EXPECT_EQ(code_of(write([&](Transaction& t) { return remove_factor(t, eve.user.id, factor.id, "eve"); })),
              Code::kNotFound);
    EXPECT_EQ(of(bob).size(), 1u);
    take(write([&](Transaction& t) { return remove_factor(t, bob.user.id, factor.id, "bob"); }));
    EXPECT_TRUE(of(bob).empty());
    add(bob);
    add(bob);
    take(write([&](Transaction& t) { return remove_factors(t, bob.user.id, "root"); }));
    EXPECT_TRUE(of(bob).empty());
}

TEST_F(Invites, AreGoodOnce) {
    const Person bob = add_person("bob");
    const std::string code = invite(bob);
    EXPECT_EQ(code.size(), 19u) << "xxxx-xxxx-xxxx-xxxx";
    EXPECT_EQ(take(check(code)).name, bob.user.name);
    EXPECT_EQ(take(check(code)).name, bob.user.name) << "to look does not spend";
    take(spend(code));
    EXPECT_EQ(code_of(check(code)), Code::kConflict);
    EXPECT_EQ(code_of(spend(code)), Code::kConflict);
}

TEST_F(Invites, AreTakenAsPeopleTypeThem) {
    const Person bob = add_person("bob");
    std::string code = invite(bob);
    for (char& c : code) {
        if (c == '-') c = ' ';
        if (c == '0') c = 'O';
        if (c == '1') c = 'l';
    }
    EXPECT_TRUE(check(code));
}

TEST_F(Invites, WrongOnesAreRefused) {
    const Person bob = add_person("bob");
    std::string code = invite(bob);
    code[0] = code[0] == 'a' ? 'b' : 'a';
    EXPECT_EQ(code_of(check(code)), Code::kNotFound);
    for (const char* wrong : {"", "abc", "aaaa-aaaa-aaaa-aaaa", "aaaa-aaaa-aaaa-aaa'", "\xff\xfe"}) {
        EXPECT_EQ(code_of(check(wrong)), Code::kNotFound);
        EXPECT_EQ(code_of(spend(wrong)), Code::kNotFound);
    }
    EXPECT_EQ(code_of(check(std::string(100'000, 'a'))), Code::kNotFound);
}

TEST_F(Invites, Expire) {
    const Person bob = add_person("bob");
    const std::string code = invite(bob);
    clock_.advance(from_seconds(24 * 3600) - Micros{1});
    EXPECT_TRUE(check(code));
    clock_.advance({1});
    EXPECT_EQ(code_of(check(code)), Code::kExpired);
    EXPECT_EQ(code_of(spend(code)), Code::kExpired);
}

TEST_F(Invites, OfALockedAccountAreRefused) {
    const Person bob = add_person("bob");
    const std::string code = invite(bob);
    take(write([](Transaction& t) { return lock_user(t, user_name("bob"), "", "root"); }));
    EXPECT_EQ(code_of(check(code)), Code::kLocked);
}

TEST_F(Invites, ANewerOneEndsTheOlder) {
    const Person bob = add_person("bob");
    const std::string older = invite(bob);
    const std::string newer = invite(bob);
    EXPECT_EQ(code_of(check(older)), Code::kNotFound);
    EXPECT_TRUE(check(newer));
}

TEST_F(Invites, ChangedByHandAreRefused) {
    const Person bob = add_person("bob");
    const Person root = add_person("root");
    const std::string code = invite(bob);
    by_hand("UPDATE invites SET user_id = $1", {static_cast<std::int64_t>(root.user.id.value)});
    EXPECT_EQ(code_of(check(code)), Code::kNotFound);
}

TEST_F(Unlocks, AreLiveUntilTheyEnd) {
    const Person bob = add_person("bob");
    ASSERT_TRUE(live(bob));
    EXPECT_EQ(live(bob)->id, bob.unlock.id);
    clock_.advance(from_seconds(12 * 3600) - Micros{1});
    EXPECT_TRUE(live(bob));
    clock_.advance({1});
    EXPECT_FALSE(live(bob));
}

TEST_F(Unlocks, AreOfOneKey) {
    const Person bob = add_person("bob");
    const auto other = take(
        write([&](Transaction& t) { return add_key(t, bob.user.id, new_public_key(), "tablet", "bob"); }));
    EXPECT_FALSE(take(read([&](Transaction& t) { return live_unlock(t, bob.user.id, other.id); })));
}

TEST_F(Unlocks, AreNotOpenedForAnothersKey) {
    const Person bob = add_person("bob");
    const Person eve = add_person("eve");
    EXPECT_EQ(code_of(write([&](Transaction& t) {
                  return open_unlock(t, eve.user.id, bob.key.id, t.now + from_seconds(60), t.now, "eve");
              })),
              Code::kNotFound);
    EXPECT_EQ(code_of(write([&](Transaction& t) {
                  return open_unlock(t, bob.user.id, bob.key.id, t.now, t.now, "bob");
              })),
              Code::kUsage);
}

TEST_F(Unlocks, AreRefreshedWhileLive) {
    const Person bob = add_person("bob");
    clock_.advance(from_seconds(3600));
    const auto refresh = [&] {
        return write([&](Transaction& t) {
            return refresh_unlock(t, bob.unlock.id, t.now + from_seconds(12 * 3600), t.now, "bob");
        });
    };
    take(refresh());
    EXPECT_EQ(live(bob)->ends_at, clock_.now() + from_seconds(12 * 3600));
    EXPECT_EQ(live(bob)->factor_at, clock_.now());
    EXPECT_EQ(live(bob)->opened_at, bob.unlock.opened_at);
    clock_.advance(from_seconds(13 * 3600));
    EXPECT_EQ(code_of(refresh()), Code::kExpired);
}

TEST_F(Unlocks, ANewOneTakesThePlaceOfTheOld) {
    const Person bob = add_person("bob");
    const auto fresh = take(write([&](Transaction& t) {
        return open_unlock(t, bob.user.id, bob.key.id, t.now + from_seconds(60), t.now, "bob");
    }));
    const auto all = take(read([&](Transaction& t) { return live_unlocks(t, bob.user.id); }));
    ASSERT_EQ(all.size(), 1u);
    EXPECT_EQ(all[0].id, fresh.id);
}

TEST_F(Unlocks, EndOnDemand) {
    const Person bob = add_person("bob");
    const Person eve = add_person("eve");
    take(write([&](Transaction& t) { return end_unlocks(t, bob.user.id, "bob"); }));
    EXPECT_FALSE(live(bob));
    EXPECT_TRUE(live(eve));
}

} // namespace
} // namespace latchkey::ledger
