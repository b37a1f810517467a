// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/copy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdlib.h>

#include <filesystem>
#include <set>

#include "broker/ledger/audit.h"
#include "broker/ledger/contradictions.h"
#include "broker/ledger/ledger_for_tests.h"
#include "broker/ledger/policy_rows.h"
#include "broker/ledger/revocations.h"
#include "broker/ledger/shape.h"
#include "broker/ledger/vms.h"

namespace latchkey::ledger {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string text_of(const plugin_host::Value& value) {
    return std::get<std::string>(value);
}

std::set<std::string> names_in(const plugin_host::Rows& rows) {
    std::set<std::string> names;
    for (const auto& row : rows.rows) names.insert(text_of(row[0]));
    return names;
}

class Copying : public LedgerTest {
protected:
    using LedgerTest::LedgerTest;
    // Something in every table that the broker fills here.
    void fill() {
        const Person bob = add_person("bob");
        issue(bob);
        take(write([&](Transaction& t) -> Status {
            LK_TRY(group, add_group(t, take(GroupName::parse("dev")), "admin"));
            LK_CHECK(join_group(t, group.id, bob.user.id, "admin"));
            Rule rule;
            rule.group = group.id;
            rule.group_name = group.name;
            rule.vm_selector = "*";
            rule.logins = {take(Login::parse("deploy"))};
            LK_TRY(added, add_rule(t, std::move(rule), "admin"));
            LK_TRY(factor, add_factor(t, bob.user.id, "totp", data_key(9), "bob"));
            LK_TRY(invite, add_invite(t, bob.user.id, t.now + from_seconds(60), "admin"));
            LK_TRY(noted, note_failure(t, bob.user.id));
            (void)noted;
            LK_TRY(token, add_join_token(t, 2, t.now + from_seconds(60), "*", {{"env", "prod"}}, "admin"));
            LK_TRY(vm_name, VmName::parse("web-1"));
            LK_TRY(vm,
                   join_vm(t, token.id, token.secret.view(), vm_name, new_public_key().raw_ed25519(), {}));
            LK_CHECK(put_setting(t, "a.test", "x"));
            LK_TRY(selector, revocation::Selector::parse("user", "bob"));
            LK_TRY(made, revoke(t, selector, "a test", "admin"));
            return {};
        }));
    }
    CopyHow how(Contradictory contradictory = Contradictory::kRefused) {
        return {.data_key = key_, .clock = clock_, .contradictory = contradictory};
    }
    static std::unique_ptr<plugin_host::Store> new_store() {
        plugin_host::Loader loader(LK_PLUGIN_DIR);
        return take(loader.store("sqlite", {{"path", ":memory:"}}));
    }
    std::uint64_t count(const Copied& copied, std::string_view table) {
        for (const TableCount& one : copied.tables) {
            if (one.table == table) return one.rows;
        }
        return 0;
    }
    static plugin_host::Rows look(plugin_host::Store& store, std::string_view sql) {
        const auto connection = take(store.connect());
        return take(connection->run(sql, {}));
    }
    static std::set<std::vector<plugin_host::Value>> all_of(plugin_host::Store& store,
                                                            const TableShape& table) {
        std::string columns;
        for (const std::string_view column : table.columns) {
            columns += (columns.empty() ? "" : ", ") + std::string(column);
        }
        const auto rows = look(store, "SELECT " + columns + " FROM " + std::string(table.name));
        return {rows.rows.begin(), rows.rows.end()};
    }
    void expect_empty(plugin_host::Store& store) {
        for (const TableShape& table : tables()) {
            if (table.name == "counters") continue;
            EXPECT_THAT(look(store, "SELECT 1 FROM " + std::string(table.name)).rows, IsEmpty())
                << table.name;
        }
    }

    const SecretBytes key_ = data_key();
};

// In memory a reader waits for a writer, in a file it does not.
struct FolderOfOne {
    FolderOfOne() {
        std::string name = (std::filesystem::temp_directory_path() / "latchkey-copy-XXXXXX").string();
        if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("cannot make " + name);
        path = name;
    }
    ~FolderOfOne() {
        std::error_code ignored;
        std::filesystem::remove_all(path, ignored);
    }
    std::filesystem::path path;
};

class CopyingAFile : private FolderOfOne, public Copying {
protected:
    CopyingAFile() : Copying((path / "ledger.db").string()) {}
    std::filesystem::path folder() const { return path; }
};

TEST_F(Copying, KnowsEveryTableAndColumnThatTheMigrationsMake) {
    LK_SQLITE_ONLY("its own tables say what there is");
    std::set<std::string> known = {"schema_version"};
    for (const TableShape& table : tables()) {
        known.emplace(table.name);
        std::set<std::string> columns;
        for (const std::string_view column : table.columns) columns.emplace(column);
        EXPECT_EQ(columns,
                  names_in(by_hand("SELECT name FROM pragma_table_info($1)", {std::string(table.name)})))
            << table.name;
        std::set<std::string> keys;
        for (const std::string_view key : table.columns.first(table.keys)) keys.emplace(key);
        EXPECT_EQ(keys, names_in(by_hand("SELECT name FROM pragma_table_info($1) WHERE pk > 0",
                                         {std::string(table.name)})))
            << table.name;
    }
    EXPECT_EQ(known, names_in(by_hand("SELECT name FROM sqlite_schema WHERE type = 'table'")))
        << "a table that a migration made belongs into broker/ledger/shape.cc";
}

TEST_F(Copying, TakesEverythingOverAndTheCopyLivesOn) {
    fill();
    const auto to = new_store();
    const Copied copied = take(copy_ledger(*store_, *to, how()));
    EXPECT_EQ(copied.epoch.value, 1U);
    EXPECT_EQ(count(copied, "users"), 1U);
    EXPECT_EQ(count(copied, "certificates"), 1U);
    EXPECT_GT(copied.audit_rows, 5U);
    EXPECT_EQ(copied.last_audit_at.value, clock_.now().value);
    for (const TableShape& table : tables()) {
        EXPECT_EQ(all_of(*store_, table), all_of(*to, table)) << table.name;
    }

    const auto ledger = take(Ledger::open(*to, {.data_key = data_key(), .clock = &clock_}));
    take(ledger->write([](Transaction& t) {
        return add_user(t, user_name("carol"), "carol@example.org", Role::kUser, "admin");
    }));
    EXPECT_EQ(take(ledger->read([](Transaction& t) { return list_users(t); })).size(), 2U);
    EXPECT_TRUE(ledger->read([](Transaction& t) { return verify_audit(t); }));
    EXPECT_EQ(ledger->tampered_rows(), 0U);
}

TEST_F(Copying, GoesThroughTablesOfManyPages) {
    const Person bob = add_person("bob");
    for (int i = 0; i < 1100; ++i) {
        take(write([&](Transaction& t) {
            return append_audit(t, {"admin", "a.test", "n:" + std::to_string(i), "done", "{}"});
        }));
    }
    const auto to = new_store();
    const Copied copied = take(copy_ledger(*store_, *to, how()));
    EXPECT_GE(count(copied, "audit"), 1100U);
    EXPECT_EQ(copied.rows(), [&] {
        std::uint64_t rows = 0;
        for (const TableShape& table : tables()) {
            rows += look(*to, "SELECT 1 FROM " + std::string(table.name)).rows.size();
        }
        return rows;
    }());
}

TEST_F(Copying, GoesOutOfPostgresAndBackIntoIt) {
    if (!is_on_postgres()) GTEST_SKIP() << "beside tests/support/with_postgres";
    fill();
    const auto between = new_store();
    take(copy_ledger(*store_, *between, how()));
    ledger_.reset();
    store_.reset();
    store_ = open_test_store(""); // emptied
    take(copy_ledger(*between, *store_, how()));
    for (const TableShape& table : tables()) {
        EXPECT_EQ(all_of(*between, table), all_of(*store_, table)) << table.name;
    }
    reopen();
    add_person("carol");
    EXPECT_TRUE(read([](Transaction& t) { return verify_audit(t); }));
    EXPECT_EQ(ledger_->tampered_rows(), 0U);
}

TEST_F(Copying, RefusesAStoreThatIsNotEmpty) {
    fill();
    const auto to = new_store();
    take(copy_ledger(*store_, *to, how()));
    const auto again = copy_ledger(*store_, *to, how());
    EXPECT_EQ(code_of(again), Code::kExists);
    EXPECT_EQ(look(*to, "SELECT 1 FROM users").rows.size(), 1U);
}

TEST_F(Copying, RefusesAnotherDataKeyAndAStoreWithoutALedger) {
    fill();
    const auto to = new_store();
    const SecretBytes other = data_key(8);
    EXPECT_EQ(code_of(copy_ledger(*store_, *to, {.data_key = other, .clock = clock_})), Code::kConfig);
    const auto bare = new_store();
    EXPECT_EQ(code_of(copy_ledger(*bare, *to, how())), Code::kConfig);
    take(Ledger::migrate(*bare));
    EXPECT_EQ(code_of(copy_ledger(*bare, *to, how())), Code::kConfig);
}

TEST_F(Copying, LeavesTheTargetEmptyWhereItFailsAndCanBeBegunAgain) {
    fill();
    const auto to = new_store();
    CopyHow failing = how();
    failing.finish = [](Transaction&) -> Status { return fail(Code::kIo, "the disk is full"); };
    EXPECT_EQ(code_of(copy_ledger(*store_, *to, failing)), Code::kIo);
    expect_empty(*to);
    EXPECT_TRUE(copy_ledger(*store_, *to, how()));
}

TEST_F(Copying, RefusesALedgerThatContradictsItself) {
    fill();
    by_hand("UPDATE users SET role = 3");
    const auto to = new_store();
    const auto refused = copy_ledger(*store_, *to, how());
    EXPECT_EQ(code_of(refused), Code::kTampered);
    EXPECT_THAT(refused.error().message, HasSubstr("users: 1 row fails its check"));
    expect_empty(*to);
    const Copied copied = take(copy_ledger(*store_, *to, how(Contradictory::kCopied)));
    EXPECT_THAT(copied.contradictions, ElementsAre(HasSubstr("users: 1 row fails its check")));
    EXPECT_EQ(count(copied, "users"), 1U);
}

TEST_F(Copying, FindsEachKindOfContradiction) {
    fill();
    struct {
        const char* sql;
        const char* told;
    } const hands[] = {
        {"UPDATE users SET email = 'x'", "users: 1 row"},
        {"UPDATE keys SET name = 'x'", "keys: 1"},
        {"UPDATE factors SET kind = 'x'", "factors: 1"},
        {"UPDATE invites SET spent_at = 5", "invites: 1"},
        {"UPDATE unlocks SET ended_at = 0", "unlocks: 1"},
        {"UPDATE user_groups SET name = 'x'", "user_groups: 1"},
        {"UPDATE members SET version = 9", "members: 1"},
        {"UPDATE rules SET command = 'x'", "rules: 1"},
        {"UPDATE vms SET joined_at = 0", "vms: 1"},
        {"UPDATE join_tokens SET uses_left = 9", "join_tokens: 1"},
        {"UPDATE certificates SET serial = 9", "certificates: 1"},
        {"UPDATE revocations SET record = x'00'", "revocations: 1"},
        {"DELETE FROM revocations", "revocations: 1"},
        {"UPDATE settings SET value = 'y' WHERE name <> 'ledger.data_key'", "settings: 1"},
        {"UPDATE counters SET value = 0 WHERE name = 'sequence'", "counters: sequence is at 0"},
        {"UPDATE counters SET value = 0 WHERE name = 'epoch'", "counters: epoch is at 0"},
        {"UPDATE audit SET object = 'x' WHERE sequence = 3", "audit row 3"},
        {"DELETE FROM audit WHERE sequence = (SELECT MAX(sequence) FROM audit)", "is missing"},
        {"UPDATE chain_head SET sequence = 2", "the chain's head does not verify"}};
    for (const auto& hand : hands) {
        SCOPED_TRACE(hand.sql);
        const auto altered = new_store();
        take(copy_ledger(*store_, *altered, how()));
        look(*altered, hand.sql);
        const auto to = new_store();
        EXPECT_EQ(code_of(copy_ledger(*altered, *to, how())), Code::kTampered);
        const Copied copied = take(copy_ledger(*altered, *to, how(Contradictory::kCopied)));
        EXPECT_THAT(copied.contradictions, ::testing::Contains(HasSubstr(hand.told)));
    }
}

TEST_F(CopyingAFile, TakesOneSnapshotWhileTheSourceIsWritten) {
    fill();
    const auto to = new_store();
    CopyHow watched = how();
    watched.finish = [&](Transaction&) -> Status { // the source goes on before the copy commits
        add_person("carol");
        return {};
    };
    const Copied copied = take(copy_ledger(*store_, *to, watched));
    EXPECT_EQ(count(copied, "users"), 1U);
    EXPECT_EQ(look(*store_, "SELECT 1 FROM users").rows.size(), 2U);
    EXPECT_EQ(look(*to, "SELECT 1 FROM users").rows.size(), 1U);
}

TEST_F(CopyingAFile, SeesWhereAFileIsCutShort) {
    LK_SQLITE_ONLY("a file");
    fill();
    const std::filesystem::path file = folder() / "copy.db";
    plugin_host::Loader loader(LK_PLUGIN_DIR);
    {
        const auto to = take(loader.store("sqlite", {{"path", file.string()}}));
        take(copy_ledger(*store_, *to, how()));
    }
    EXPECT_FALSE(std::filesystem::exists(file.string() + "-wal")); // all of it is in the one file
    const auto size = std::filesystem::file_size(file);
    for (const auto left : {size - 1, size - 4096, size / 2, std::uintmax_t{5000}, std::uintmax_t{100}}) {
        SCOPED_TRACE(left);
        const std::filesystem::path cut = folder() / "cut.db";
        std::filesystem::remove(cut);
        std::filesystem::copy_file(file, cut);
        std::filesystem::resize_file(cut, left);
        const auto store = loader.store("sqlite", {{"path", cut.string()}});
        const Status whole = store ? need_whole(**store, left) : Status(fail(store.error()));
        ASSERT_FALSE(whole);
        EXPECT_EQ(whole.error().code, Code::kTampered);
    }
    const auto store = take(loader.store("sqlite", {{"path", file.string()}}));
    EXPECT_TRUE(need_whole(*store, size));
}

} // namespace
} // namespace latchkey::ledger
