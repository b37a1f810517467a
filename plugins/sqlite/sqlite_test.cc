// SPDX-License-Identifier: Apache-2.0
// Statements, transactions and conflicts, in memory.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <thread>

#include "plugins/sqlite/test_database.h"

namespace latchkey::sqlite {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class SqliteTest : public testing::Test {
protected:
    void SetUp() override {
        ASSERT_TRUE(
            one_->run_script("CREATE TABLE item(id BIGINT PRIMARY KEY, name TEXT UNIQUE, data BLOB);"
                             "CREATE TABLE part(item BIGINT NOT NULL REFERENCES item(id));"));
    }
    Status insert(sdk::StoreConnection& connection, std::int64_t id) {
        LK_CHECK(connection.run("INSERT INTO item(id) VALUES ($1)", std::vector{integer(id)}, none_));
        return {};
    }
    Lines ids(sdk::StoreConnection& connection) {
        return rows(connection, "SELECT id FROM item ORDER BY id");
    }

    const lk_row_sink ignore_{nullptr,
                              [](void*, const lk_value*, std::size_t) -> std::int32_t { return LK_OK; }};
    const sdk::RowSink none_{&ignore_};
    TestDatabase database_{{{"path", ":memory:"}, {"busy_timeout_ms", "0"}}};
    std::unique_ptr<sdk::StoreConnection> one_ = database_.connect();
    std::unique_ptr<sdk::StoreConnection> two_ = database_.connect();
};

TEST_F(SqliteTest, GivesBackEveryValueAsItWasBound) {
    const auto back = [&](const lk_value& value) { return rows(*one_, "SELECT $1", {value}).at(0); };
    EXPECT_EQ(back(null()), "null");
    EXPECT_EQ(back(integer(std::numeric_limits<std::int64_t>::min())), "-9223372036854775808");
    EXPECT_EQ(back(integer(std::numeric_limits<std::int64_t>::max())), "9223372036854775807");
    EXPECT_EQ(back(text("")), "''");
    EXPECT_EQ(back(text(std::string_view("a\0b", 3))), std::string("'a\0b'", 5));
    EXPECT_EQ(back(blob("")), "x''");
    EXPECT_EQ(back(blob(std::string_view("\0\xff", 2))), "x'00ff'");
}

TEST_F(SqliteTest, BindsParametersByTheirNumberInAnyOrder) {
    EXPECT_THAT(rows(*one_, "SELECT $3, $1, $2, $1", {integer(1), integer(2), integer(3)}),
                ElementsAre("3,1,2,1"));
}

TEST_F(SqliteTest, RefusesStatementsOutsideTheContract) {
    EXPECT_EQ(code_of(run(*one_, "SELECT $1, $2", {integer(1)})), Code::kUsage);
    EXPECT_EQ(code_of(run(*one_, "SELECT $1", {integer(1), integer(2)})), Code::kUsage);
    EXPECT_EQ(code_of(run(*one_, "SELECT ?", {integer(1)})), Code::kUsage);
    EXPECT_EQ(code_of(run(*one_, "SELECT ?1", {integer(1)})), Code::kUsage);
    EXPECT_EQ(code_of(run(*one_, "SELECT $name", {integer(1)})), Code::kUsage);
    EXPECT_EQ(code_of(run(*one_, "SELECT $0", {})), Code::kUsage);
    EXPECT_EQ(code_of(run(*one_, "SELECT $1", {lk_value{9, 0, {nullptr, 0}}})), Code::kUsage);
    EXPECT_EQ(code_of(run(*one_, "SELECT 1; SELECT 2")), Code::kUsage);
    EXPECT_EQ(code_of(run(*one_, " ")), Code::kUsage);
    EXPECT_EQ(code_of(run(*one_, "SELECT 0.5")), Code::kUnsupported);
    EXPECT_THAT(rows(*one_, "SELECT 1 ; \n"), ElementsAre("1"));
}

TEST_F(SqliteTest, SaysWhatIsWrongWithAStatementAndLivesOn) {
    EXPECT_EQ(code_of(run(*one_, "SELEC 1")), Code::kInternal);
    EXPECT_THAT(rows(*one_, "SELECT x FROM nowhere").at(0), HasSubstr("no such table"));
    EXPECT_THAT(rows(*one_, "SELECT \"no string\"").at(0), HasSubstr("no such column"));
    EXPECT_THAT(rows(*one_, "SELECT 1"), ElementsAre("1"));
}

TEST_F(SqliteTest, CountsTheRowsThatAStatementChanged) {
    EXPECT_EQ(run(*one_, "INSERT INTO item(id) VALUES (1), (2), (3)")->changed, 3);
    EXPECT_EQ(run(*one_, "SELECT 1")->changed, 0);
    EXPECT_EQ(run(*one_, "UPDATE item SET name = NULL WHERE id = 9")->changed, 0);
    EXPECT_EQ(run(*one_, "CREATE TABLE other(x)")->changed, 0);
    const auto updated = run(*one_, "UPDATE item SET data = $1 WHERE id > 1 RETURNING id", {blob("x")});
    EXPECT_EQ(updated->changed, 2);
    EXPECT_THAT(updated->rows, ElementsAre("2", "3"));
    EXPECT_EQ(run(*one_, "DELETE FROM item")->changed, 3);
}

TEST_F(SqliteTest, UsesAPreparedStatementAgainAfterTheSchemaChanged) {
    ASSERT_TRUE(insert(*one_, 1));
    EXPECT_THAT(rows(*one_, "SELECT * FROM item"), ElementsAre("1,null,null"));
    ASSERT_TRUE(two_->run_script("ALTER TABLE item ADD COLUMN extra BIGINT DEFAULT 5"));
    EXPECT_THAT(rows(*one_, "SELECT * FROM item"), ElementsAre("1,null,null,5"));
}

TEST_F(SqliteTest, KeepsAtMostAThousandStatementsPrepared) {
    for (int i = 0; i < 2'500; ++i) {
        EXPECT_THAT(rows(*one_, "SELECT " + std::to_string(i)), ElementsAre(std::to_string(i)));
    }
}

TEST_F(SqliteTest, ShowsAnotherConnectionOnlyWhatIsCommitted) {
    ASSERT_TRUE(one_->begin(true));
    ASSERT_TRUE(insert(*one_, 1));
    EXPECT_THAT(ids(*one_), ElementsAre("1"));
    ASSERT_TRUE(one_->commit());
    EXPECT_THAT(ids(*two_), ElementsAre("1"));

    ASSERT_TRUE(one_->begin(true));
    ASSERT_TRUE(insert(*one_, 2));
    ASSERT_TRUE(one_->rollback());
    EXPECT_THAT(ids(*one_), ElementsAre("1"));
    EXPECT_THAT(ids(*two_), ElementsAre("1"));
}

TEST_F(SqliteTest, RollsBackWhatAConnectionLeftOpen) {
    ASSERT_TRUE(one_->begin(true));
    ASSERT_TRUE(insert(*one_, 1));
    one_.reset();
    EXPECT_THAT(ids(*two_), IsEmpty());
    EXPECT_TRUE(insert(*two_, 2));
}

TEST_F(SqliteTest, UndoesASavepointAndKeepsItsNeighbours) {
    ASSERT_TRUE(one_->begin(true));
    ASSERT_TRUE(one_->savepoint());
    ASSERT_TRUE(insert(*one_, 1));
    ASSERT_TRUE(one_->release_savepoint());
    ASSERT_TRUE(one_->savepoint());
    ASSERT_TRUE(insert(*one_, 2));
    EXPECT_EQ(code_of(insert(*one_, 1)), Code::kExists);
    ASSERT_TRUE(one_->rollback_to_savepoint());
    ASSERT_TRUE(one_->savepoint());
    ASSERT_TRUE(insert(*one_, 3));
    ASSERT_TRUE(one_->release_savepoint());
    ASSERT_TRUE(one_->commit());
    EXPECT_THAT(ids(*two_), ElementsAre("1", "3"));
}

TEST_F(SqliteTest, CallsAUniqueViolationExistsAndEveryOtherRefused) {
    ASSERT_TRUE(run(*one_, "INSERT INTO item(id, name) VALUES (1, $1)", {text("secret name")}));
    EXPECT_EQ(code_of(insert(*one_, 1)), Code::kExists);
    const auto twice = run(*one_, "INSERT INTO item(id, name) VALUES (2, $1)", {text("secret name")});
    EXPECT_EQ(code_of(twice), Code::kExists);
    EXPECT_THAT(twice.error().message, HasSubstr("item.name"));
    EXPECT_THAT(twice.error().message, testing::Not(HasSubstr("secret")));
    EXPECT_EQ(code_of(run(*one_, "INSERT INTO part(item) VALUES (77)")), Code::kRefused);
    EXPECT_EQ(code_of(run(*one_, "INSERT INTO part(item) VALUES (NULL)")), Code::kRefused);
    EXPECT_TRUE(run(*one_, "INSERT INTO part(item) VALUES (1)"));
}

TEST_F(SqliteTest, CallsTheSecondWriterAConflictUntilTheFirstIsDone) {
    EXPECT_THAT(ids(*two_), IsEmpty());
    ASSERT_TRUE(one_->begin(true));
    EXPECT_EQ(code_of(two_->begin(true)), Code::kConflict);
    EXPECT_EQ(code_of(insert(*two_, 5)), Code::kConflict);
    ASSERT_TRUE(one_->commit());
    ASSERT_TRUE(two_->begin(true));
    ASSERT_TRUE(insert(*two_, 5));
    ASSERT_TRUE(two_->commit());
    EXPECT_THAT(ids(*one_), ElementsAre("5"));
}

TEST_F(SqliteTest, CallsAFullDatabaseIoAndGivesTheTransactionUp) {
    ASSERT_TRUE(insert(*one_, 1));
    const auto pages = rows(*one_, "PRAGMA page_count").at(0);
    ASSERT_TRUE(run(*one_, "PRAGMA max_page_count = " + pages));
    ASSERT_TRUE(one_->begin(true));
    ASSERT_TRUE(insert(*one_, 2));
    const std::string much(100'000, 'x');
    const auto full = run(*one_, "INSERT INTO item(id, data) VALUES (3, $1)", {blob(much)});
    EXPECT_EQ(code_of(full), Code::kIo);
    EXPECT_THAT(full.error().message, HasSubstr("the disk is full"));

    // Whatever the caller does now, nothing is committed on its own.
    (void)insert(*one_, 4);
    (void)one_->commit();
    ASSERT_TRUE(one_->rollback());
    EXPECT_THAT(ids(*two_), testing::AnyOf(ElementsAre("1"), ElementsAre("1", "2", "4")));
    ASSERT_TRUE(insert(*one_, 6));
}

TEST_F(SqliteTest, FailsEveryCallAfterTheDatabaseEndedTheTransactionItself) {
    ASSERT_TRUE(one_->begin(true));
    ASSERT_TRUE(insert(*one_, 1));
    // OR ROLLBACK ends the transaction as a failing disk does.
    ASSERT_TRUE(one_->savepoint());
    EXPECT_EQ(code_of(run(*one_, "INSERT OR ROLLBACK INTO item(id) VALUES (1)")), Code::kExists);
    EXPECT_FALSE(one_->rollback_to_savepoint());
    EXPECT_FALSE(insert(*one_, 2));
    EXPECT_FALSE(one_->run_script("INSERT INTO item(id) VALUES (3)"));
    EXPECT_FALSE(one_->commit());
    ASSERT_TRUE(one_->rollback());
    EXPECT_THAT(ids(*one_), IsEmpty());
    ASSERT_TRUE(one_->begin(true));
    ASSERT_TRUE(insert(*one_, 4));
    ASSERT_TRUE(one_->commit());
    EXPECT_THAT(ids(*two_), ElementsAre("4"));
}

TEST_F(SqliteTest, KeepsItsSchemaOutOfReach) {
    EXPECT_FALSE(run(*one_, "UPDATE sqlite_schema SET sql = 'x'"));
    EXPECT_FALSE(run(*one_, "SELECT load_extension('x')"));
    (void)run(*one_, "PRAGMA writable_schema = ON");
    EXPECT_FALSE(run(*one_, "DELETE FROM sqlite_schema"));
    EXPECT_THAT(ids(*one_), IsEmpty());
}

TEST_F(SqliteTest, StopsWhereTheHostTakesNoMoreRows) {
    ASSERT_TRUE(run(*one_, "INSERT INTO item(id) VALUES (1), (2), (3)"));
    int seen = 0;
    const lk_row_sink sink{&seen, [](void* count, const lk_value*, std::size_t) -> std::int32_t {
                               return ++*static_cast<int*>(count) == 2 ? LK_ERROR_TOO_LARGE : LK_OK;
                           }};
    EXPECT_EQ(one_->run("SELECT id FROM item", {}, sdk::RowSink(&sink)).error().code, Code::kTooLarge);
    EXPECT_EQ(seen, 2);
    EXPECT_THAT(ids(*one_), ElementsAre("1", "2", "3"));
}

TEST(SqliteInMemory, IsOneDatabaseAStoreAndAnotherForAnotherStore) {
    TestDatabase first, second;
    ASSERT_TRUE(first.connect()->run_script("CREATE TABLE t(x); INSERT INTO t VALUES (1)"));
    EXPECT_THAT(rows(*first.connect(), "SELECT x FROM t"), ElementsAre("1")); // no connection stayed open
    EXPECT_THAT(rows(*second.connect(), "SELECT x FROM t").at(0), HasSubstr("no such table"));
}

TEST(SqliteInMemory, LosesNoWriteOfManyThreads) {
    TestDatabase database;
    ASSERT_TRUE(database.connect()->run_script("CREATE TABLE t(n BIGINT); INSERT INTO t VALUES (0)"));
    const auto work = [&] {
        const auto connection = database.connect();
        for (int i = 0; i < 50; ++i) {
            ASSERT_TRUE(connection->begin(true));
            ASSERT_TRUE(run(*connection, "UPDATE t SET n = n + 1"));
            ASSERT_TRUE(connection->commit());
        }
    };
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) threads.emplace_back(work);
    for (std::thread& thread : threads) thread.join();
    EXPECT_THAT(rows(*database.connect(), "SELECT n FROM t"), ElementsAre("200"));
}

} // namespace
} // namespace latchkey::sqlite
