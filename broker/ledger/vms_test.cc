// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/vms.h"

#include "broker/ledger/ledger_for_tests.h"

namespace latchkey::ledger {
namespace {

VmName vm_name(std::string_view text) {
    return take(VmName::parse(text));
}

class Vms : public LedgerTest {
protected:
    const std::vector<protocol::KeyValue> kLabels = {{"env", "prod"}, {"role", "web"}};

    FreshToken token(std::uint32_t uses = 1, std::string_view pattern = "*") {
        return take(write([&](Transaction& t) {
            return add_join_token(t, uses, t.now + from_seconds(3600), std::string(pattern), kLabels, "root");
        }));
    }
    Result<Vm> join(const FreshToken& token, std::string_view name, std::uint8_t key,
                    const std::vector<protocol::KeyValue>& labels = {}) {
        return write([&](Transaction& t) {
            return join_vm(t, token.id, token.secret.view(), vm_name(name), Bytes(32, key), labels);
        });
    }
    Vm add_vm(std::string_view name, std::uint8_t key) { return take(join(token(), name, key)); }
    std::optional<Vm> find(std::string_view name) {
        return take(read([&](Transaction& t) { return find_vm(t, vm_name(name)); }));
    }
};

TEST_F(Vms, JoinWithATokenAndBearItsLabels) {
    const Vm vm = take(join(token(), "web-1", 1, {{"env", "prod"}}));
    const auto found = find("web-1");
    ASSERT_TRUE(found);
    EXPECT_EQ(found->id, vm.id);
    EXPECT_EQ(found->labels, kLabels);
    EXPECT_EQ(found->key, Bytes(32, 1));
    EXPECT_EQ(found->offline_grace_seconds, 3600u);
    const auto by_key = take(read([](Transaction& t) { return find_vm_by_key(t, Bytes(32, 1)); }));
    ASSERT_TRUE(by_key);
    EXPECT_EQ(by_key->name.str(), "web-1");
    EXPECT_FALSE(take(read([](Transaction& t) { return find_vm_by_key(t, Bytes(32, 2)); })));
}

TEST_F(Vms, JoinAsOftenAsTheTokenSays) {
    const FreshToken two = token(2);
    EXPECT_TRUE(join(two, "web-1", 1));
    EXPECT_TRUE(join(two, "web-2", 2));
    EXPECT_EQ(code_of(join(two, "web-3", 3)), Code::kConflict);
    EXPECT_EQ(take(read([](Transaction& t) { return list_vms(t); })).size(), 2u);
}

TEST_F(Vms, DoNotJoinWithAWrongOrExpiredToken) {
    const FreshToken good = token();
    FreshToken wrong_secret{good.id, SecretBytes(as_bytes("0123456789"))};
    EXPECT_EQ(code_of(join(wrong_secret, "web-1", 1)), Code::kNotFound);
    FreshToken wrong_id{"nosuchtoken", good.secret.clone()};
    EXPECT_EQ(code_of(join(wrong_id, "web-1", 1)), Code::kNotFound);
    clock_.advance(from_seconds(3600));
    EXPECT_EQ(code_of(join(good, "web-1", 1)), Code::kExpired);
    EXPECT_FALSE(find("web-1"));
}

TEST_F(Vms, JoinUnderNamesThatThePatternGives) {
    const FreshToken web = token(10, "web-*");
    EXPECT_TRUE(join(web, "web-1", 1));
    EXPECT_EQ(code_of(join(web, "db-1", 2)), Code::kRefused);
    EXPECT_EQ(code_of(join(web, "xweb-1", 2)), Code::kRefused);
    const FreshToken one = token(10, "db-?.a*b");
    EXPECT_TRUE(join(one, "db-7.axxb", 3));
    EXPECT_EQ(code_of(join(one, "db-77.ab", 4)), Code::kRefused);
    EXPECT_EQ(code_of(join(one, "db-7.abc", 4)), Code::kRefused);
}

TEST_F(Vms, DoNotChooseLabelsOfTheirOwn) {
    EXPECT_EQ(code_of(join(token(), "web-1", 1, {{"env", "dev"}})), Code::kRefused);
    EXPECT_EQ(code_of(join(token(), "web-1", 1, {{"tier", "gold"}})), Code::kRefused);
}

TEST_F(Vms, DoNotTakeATakenName) {
    add_vm("web-1", 1);
    EXPECT_EQ(code_of(join(token(), "web-1", 2)), Code::kExists);
}

TEST_F(Vms, AnInterruptedJoinIsTakenUpWithoutAnotherUse) {
    const FreshToken once = token(1);
    const Vm first = take(join(once, "web-1", 1));
    clock_.advance(from_seconds(7200));
    const Vm again = take(join(once, "web-1", 1));
    EXPECT_EQ(again.id, first.id);
    FreshToken wrong{once.id, SecretBytes(as_bytes("no"))};
    EXPECT_EQ(code_of(join(wrong, "web-1", 1)), Code::kNotFound);
}

TEST_F(Vms, TokenWidenedByHandIsRefused) {
    const FreshToken once = token(1, "web-*");
    by_hand("UPDATE join_tokens SET name_pattern = '*', uses_left = 100");
    EXPECT_EQ(code_of(join(once, "db-1", 1)), Code::kNotFound);
    EXPECT_EQ(ledger_->tampered_rows(), 1u);
}

TEST_F(Vms, MalformedTokensAreRefused) {
    const auto add = [&](std::uint32_t uses, Micros ends_at, const std::string& pattern,
                         const std::vector<protocol::KeyValue>& labels) {
        return code_of(
            write([&](Transaction& t) { return add_join_token(t, uses, ends_at, pattern, labels, "root"); }));
    };
    const Micros later = clock_.now() + from_seconds(60);
    EXPECT_EQ(add(0, later, "*", {}), Code::kUsage);
    EXPECT_EQ(add(1, clock_.now(), "*", {}), Code::kUsage);
    EXPECT_EQ(add(1, later, "", {}), Code::kMalformed);
    EXPECT_EQ(add(1, later, "Web *", {}), Code::kMalformed);
    EXPECT_EQ(add(1, later, "*", {{"a b", "c"}}), Code::kMalformed);
    EXPECT_EQ(add(1, later, "*", {{"a", ""}}), Code::kMalformed);
}

TEST_F(Vms, RemovedOnesAreGoneAndTheNameIsFree) {
    const Vm vm = add_vm("web-1", 1);
    take(write([](Transaction& t) { return remove_vm(t, vm_name("web-1"), "root"); }));
    EXPECT_FALSE(find("web-1"));
    EXPECT_FALSE(take(read([](Transaction& t) { return find_vm_by_key(t, Bytes(32, 1)); })));
    EXPECT_TRUE(take(read([](Transaction& t) { return list_vms(t); })).empty());
    EXPECT_EQ(code_of(write([](Transaction& t) { return remove_vm(t, vm_name("web-1"), "root"); })),
              Code::kNotFound);
    EXPECT_NE(add_vm("web-1", 1).id, vm.id);
}

TEST_F(Vms, ReportsOfThemselvesDecideNothing) {
    const Vm vm = add_vm("web-1", 1);
    take(write([&](Transaction& t) {
        return note_vm_seen(t, vm.id, t.now, Epoch{3}, -5'000, "latchkey-agent 0.1\x1b[31m", "");
    }));
    const auto found = find("web-1");
    ASSERT_TRUE(found);
    EXPECT_EQ(found->confirmed_epoch.value, 3u);
    EXPECT_EQ(found->clock_offset_micros, -5'000);
    EXPECT_EQ(found->software, "latchkey-agent 0.1?[31m");
    EXPECT_EQ(ledger_->tampered_rows(), 0u);
}

class Sessions : public Vms {
protected:
    protocol::SessionEvent event(std::uint64_t id, protocol::SessionPhase phase,
                                 std::string_view user = "bob") {
        protocol::SessionEvent made;
        made.session = id;
        made.phase = phase;
        made.user = user_name(user);
        made.login = take(Login::parse("deploy"));
        made.serial = {5};
        made.from = "192.0.2.7";
        made.time = clock_.now();
        made.reason = phase == protocol::SessionPhase::kOpened ? "" : "logout";
        return made;
    }
    Status record(const Vm& vm, const protocol::SessionEvent& made) {
        return write([&](Transaction& t) { return record_session_event(t, vm, made); });
    }
    std::vector<SessionRow> list(const SessionFilter& filter = {}) {
        return take(read([&](Transaction& t) { return list_sessions(t, filter); }));
    }
};

using protocol::SessionPhase;

TEST_F(Sessions, AreLiveFromOpenToClose) {
    const Vm vm = add_vm("web-1", 1);
    take(record(vm, event(11, SessionPhase::kOpened)));
    ASSERT_EQ(list().size(), 1u);
    EXPECT_EQ(list()[0].user.str(), "bob");
    EXPECT_EQ(list()[0].vm_name.str(), "web-1");
    EXPECT_EQ(list()[0].from, "192.0.2.7");
    EXPECT_EQ(list()[0].closed_at.value, 0);
    clock_.advance(from_seconds(5));
    take(record(vm, event(11, SessionPhase::kEnded)));
    EXPECT_TRUE(list().empty());
    const auto found = take(read([](Transaction& t) { return find_session(t, 11); }));
    ASSERT_TRUE(found);
    EXPECT_EQ(found->closed_at, clock_.now());
    EXPECT_EQ(found->end_reason, "logout");
    EXPECT_FALSE(take(read([](Transaction& t) { return find_session(t, 12); })));
}

TEST_F(Sessions, EventsMayComeTwiceOrAlone) {
    const Vm vm = add_vm("web-1", 1);
    take(record(vm, event(11, SessionPhase::kOpened)));
    take(record(vm, event(11, SessionPhase::kOpened)));
    EXPECT_EQ(list().size(), 1u);
    take(record(vm, event(12, SessionPhase::kClosed)));
    take(record(vm, event(11, SessionPhase::kClosed)));
    take(record(vm, event(11, SessionPhase::kOpened))); // late: it does not live again
    EXPECT_TRUE(list().empty());
    EXPECT_EQ(list({.user = {}, .vm = {}, .live_only = false}).size(), 2u);
    EXPECT_EQ(by_hand("SELECT 1 FROM audit WHERE action LIKE 'session.%'").rows.size(), 3u);
}

TEST_F(Sessions, OfAnotherVmAreNotTouched) {
    const Vm mine = add_vm("web-1", 1);
    const Vm other = add_vm("web-2", 2);
    take(record(mine, event(11, SessionPhase::kOpened)));
    EXPECT_EQ(code_of(record(other, event(11, SessionPhase::kClosed))), Code::kExists);
    EXPECT_EQ(list().size(), 1u);
    EXPECT_EQ(code_of(record(mine, event(0, SessionPhase::kOpened))), Code::kMalformed);
    EXPECT_EQ(code_of(record(mine, event(UINT64_MAX, SessionPhase::kOpened))), Code::kMalformed);
}

TEST_F(Sessions, AreFilteredByUserAndVm) {
    const Vm one = add_vm("web-1", 1);
    const Vm two = add_vm("web-2", 2);
    take(record(one, event(11, SessionPhase::kOpened, "bob")));
    take(record(two, event(12, SessionPhase::kOpened, "bob")));
    take(record(two, event(13, SessionPhase::kOpened, "eve")));
    take(record(two, event(14, SessionPhase::kRefused, "eve")));
    EXPECT_EQ(list().size(), 3u);
    EXPECT_EQ(list({.user = user_name("bob"), .vm = {}, .live_only = true}).size(), 2u);
    EXPECT_EQ(list({.user = user_name("bob"), .vm = vm_name("web-2"), .live_only = true}).size(), 1u);
    EXPECT_EQ(list({.user = {}, .vm = vm_name("web-2"), .live_only = false}).size(), 3u);
    EXPECT_TRUE(list({.user = user_name("zoe"), .vm = {}, .live_only = false}).empty());
}

TEST_F(Sessions, ThatAVmNoLongerHasAreClosed) {
    const Vm vm = add_vm("web-1", 1);
    const Vm other = add_vm("web-2", 2);
    for (const std::uint64_t id : {11u, 12u, 13u}) take(record(vm, event(id, SessionPhase::kOpened)));
    take(record(other, event(21, SessionPhase::kOpened)));
    take(write([&](Transaction& t) { return close_sessions_except(t, vm.id, {12}); }));
    const auto live = list();
    ASSERT_EQ(live.size(), 2u);
    EXPECT_EQ(live[0].id, 12u);
    EXPECT_EQ(live[1].id, 21u);
}

TEST_F(Sessions, KnowTheirPhaseAndAreClosedOnce) {
    const Vm vm = add_vm("web-1", 1);
    take(record(vm, event(11, SessionPhase::kOpened)));
    take(record(vm, event(12, SessionPhase::kEnded)));
    const auto is_other = [&](std::vector<std::uint64_t> named) {
        return take(read([&](Transaction& t) { return has_sessions_except(t, vm.id, named); }));
    };
    EXPECT_FALSE(is_other({11}));
    EXPECT_TRUE(is_other({12}));
    for (int i = 0; i < 2; ++i) {
        take(write([&](Transaction& t) -> Status {
            LK_TRY(row, find_session(t, 11));
            return close_session(t, *row, "gone when it was to be ended");
        }));
    }
    const auto row = take(read([](Transaction& t) { return find_session(t, 11); }));
    EXPECT_EQ(row->phase, SessionPhase::kClosed);
    EXPECT_EQ(row->end_reason, "gone when it was to be ended");
    EXPECT_EQ(take(read([](Transaction& t) { return find_session(t, 12); }))->phase, SessionPhase::kEnded);
    EXPECT_EQ(by_hand("SELECT 1 FROM audit WHERE action = 'session.close'").rows.size(), 1u);
}

TEST_F(Sessions, TellWhereAPersonWasLately) {
    const Vm one = add_vm("web-1", 1);
    const Vm two = add_vm("web-2", 2);
    const Vm three = add_vm("web-3", 3);
    take(record(one, event(11, SessionPhase::kOpened)));
    clock_.advance(from_seconds(100));
    take(record(two, event(12, SessionPhase::kOpened)));
    take(record(three, event(13, SessionPhase::kRefused)));
    const auto recent = [&](Micros since) {
        return take(read([&](Transaction& t) { return recent_vms_of(t, user_name("bob"), since); }));
    };
    EXPECT_EQ(recent({}), (std::vector<VmId>{two.id, one.id}));
    EXPECT_EQ(recent(clock_.now() - from_seconds(50)), (std::vector<VmId>{two.id}));
    take(write([](Transaction& t) { return remove_vm(t, vm_name("web-2"), "root"); }));
    EXPECT_EQ(recent({}), (std::vector<VmId>{one.id}));
}

} // namespace
} // namespace latchkey::ledger
