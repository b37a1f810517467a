// SPDX-License-Identifier: Apache-2.0
// The plugin against a real server: run beside tests/support/with_postgres, which tells where it is.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <thread>

#include "plugins/postgres/postgres_store.h"
#include "plugins/sdk/fake_host.h"

namespace latchkey::postgres {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

lk_value null() {
    return {LK_NULL, 0, {nullptr, 0}};
}
lk_value integer(std::int64_t value) {
    return {LK_INTEGER, value, {nullptr, 0}};
}
lk_value text(std::string_view value) {
    return {LK_TEXT, 0, sdk::lend(value)};
}
lk_value blob(std::string_view value) {
    return {LK_BLOB, 0, sdk::lend(value)};
}

using Lines = std::vector<std::string>;

std::int32_t add_line(void* lines, const lk_value* values, std::size_t count) {
    std::string line;
    for (const lk_value& value : std::span(values, count)) {
        if (!line.empty()) line += ',';
        if (value.type == LK_NULL) line += "null";
        if (value.type == LK_INTEGER) line += std::to_string(value.integer);
        if (value.type == LK_TEXT) line += "'" + std::string(sdk::text(value.bytes)) + "'";
        if (value.type == LK_BLOB) line += "x'" + to_hex(sdk::view(value.bytes)) + "'";
    }
    static_cast<Lines*>(lines)->push_back(line);
    return LK_OK;
}

struct Ran {
    Lines rows;
    std::int64_t changed = 0;
};

Result<Ran> run(sdk::StoreConnection& connection, std::string_view sql,
                const std::vector<lk_value>& parameters = {}) {
    Ran ran;
    const lk_row_sink sink{&ran.rows, add_line};
    LK_TRY(changed, connection.run(sql, parameters, sdk::RowSink(&sink)));
    ran.changed = changed;
    return ran;
}

Lines rows(sdk::StoreConnection& connection, std::string_view sql,
           const std::vector<lk_value>& parameters = {}) {
    const auto ran = run(connection, sql, parameters);
    return ran ? ran->rows : Lines{ran.error().line()};
}

template <class T>
Code code_of(const T& result) {
    EXPECT_FALSE(result);
    return result ? Code::kPartial : result.error().code;
}

std::string server() {
    const char* url = std::getenv("LATCHKEY_TEST_POSTGRES");
    return url == nullptr ? "" : url;
}

class Postgres : public testing::Test {
protected:
    void SetUp() override {
        if (server().empty()) GTEST_SKIP() << "run it beside tests/support/with_postgres";
        one_ = connect();
        two_ = connect();
        ASSERT_TRUE(
            one_->run_script("DROP TABLE IF EXISTS t;"
                             "CREATE TABLE t(id BIGINT PRIMARY KEY, name TEXT, data BYTEA)"));
    }
    std::unique_ptr<sdk::StoreConnection> connect(sdk::FakeHost::Settings more = {}) {
        more["url"] = server();
        hosts_.push_back(std::make_unique<sdk::FakeHost>(std::move(more)));
        auto store = PostgresStore::open(hosts_.back()->host());
        EXPECT_TRUE(store) << store.error().line();
        auto made = (*store)->connect();
        EXPECT_TRUE(made) << made.error().line();
        return std::move(*made);
    }
    static Status insert(sdk::StoreConnection& connection, std::int64_t id) {
        const auto ran = run(connection, "INSERT INTO t(id) VALUES ($1)", {integer(id)});
        if (!ran) return fail(ran.error());
        return {};
    }
    static Status post(sdk::StoreConnection& connection, std::int64_t id) {
        const lk_value values[] = {integer(id)};
        return connection.post("INSERT INTO t(id) VALUES ($1)", values);
    }
    static Lines ids(sdk::StoreConnection& connection) {
        return rows(connection, "SELECT id FROM t ORDER BY id");
    }

    std::vector<std::unique_ptr<sdk::FakeHost>> hosts_;
    std::unique_ptr<sdk::StoreConnection> one_, two_;
};

TEST_F(Postgres, CarriesEachTypeBothWays) {
    const auto made = run(*one_, "INSERT INTO t VALUES ($1, $2, $3) RETURNING *, NULL, id > 0, 7",
                          {integer(INT64_MIN), text("näme"), blob(std::string("\0\xff", 2))});
    ASSERT_TRUE(made) << made.error().line();
    EXPECT_THAT(made->rows, ElementsAre("-9223372036854775808,'näme',x'00ff',null,0,7"));
    EXPECT_EQ(made->changed, 1);
    EXPECT_THAT(rows(*one_, "UPDATE t SET name = $1, data = $2 RETURNING name, data", {null(), blob("")}),
                ElementsAre("null,x''"));
}

TEST_F(Postgres, CountsWhatAStatementChangedAndNotWhatItFound) {
    ASSERT_TRUE(insert(*one_, 1));
    ASSERT_TRUE(insert(*one_, 2));
    EXPECT_EQ(run(*one_, "SELECT id FROM t")->changed, 0);
    EXPECT_EQ(run(*one_, "UPDATE t SET name = 'x'")->changed, 2);
    EXPECT_EQ(run(*one_, "DELETE FROM t WHERE id = $1", {integer(9)})->changed, 0);
}

TEST_F(Postgres, KeepsCommitsAndSavepointsApart) {
    ASSERT_TRUE(one_->begin(true));
    ASSERT_TRUE(one_->savepoint());
    ASSERT_TRUE(insert(*one_, 1));
    ASSERT_TRUE(one_->release_savepoint());
    ASSERT_TRUE(one_->savepoint()); // touched by nothing
    ASSERT_TRUE(one_->rollback_to_savepoint());
    ASSERT_TRUE(one_->savepoint());
    ASSERT_TRUE(insert(*one_, 2));
    ASSERT_TRUE(one_->rollback_to_savepoint());
    ASSERT_TRUE(one_->savepoint());
    EXPECT_EQ(code_of(insert(*one_, 1)), Code::kExists);
    EXPECT_EQ(code_of(one_->release_savepoint()), Code::kInternal) << "what failed cannot be kept";
    ASSERT_TRUE(one_->rollback_to_savepoint());
    ASSERT_TRUE(one_->savepoint());
    ASSERT_TRUE(insert(*one_, 3));
    ASSERT_TRUE(one_->release_savepoint());
    EXPECT_THAT(ids(*two_), ElementsAre());
    ASSERT_TRUE(one_->commit());
    EXPECT_THAT(ids(*two_), ElementsAre("1", "3"));
}

TEST_F(Postgres, DoesNotCommitATransactionThatHasFailed) {
    ASSERT_TRUE(one_->begin(true));
    ASSERT_TRUE(insert(*one_, 1));
    EXPECT_FALSE(insert(*one_, 1));
    EXPECT_EQ(code_of(one_->commit()), Code::kInternal);
    EXPECT_THAT(ids(*one_), ElementsAre()) << "and the connection goes on";
}

TEST_F(Postgres, SendsWhatIsPostedWithTheNextStatementInOrder) {
    ASSERT_TRUE(one_->begin(true));
    ASSERT_TRUE(one_->savepoint());
    ASSERT_TRUE(post(*one_, 1));
    ASSERT_TRUE(post(*one_, 2));
    ASSERT_TRUE(one_->release_savepoint());
    ASSERT_TRUE(one_->savepoint());
    ASSERT_TRUE(post(*one_, 3));
    ASSERT_TRUE(one_->rollback_to_savepoint());
    ASSERT_TRUE(one_->savepoint());
    EXPECT_THAT(ids(*one_), ElementsAre("1", "2"));
    EXPECT_EQ(code_of(insert(*one_, 1)), Code::kExists) << "a statement's own failure is still its own";
    ASSERT_TRUE(one_->rollback_to_savepoint());
    ASSERT_TRUE(one_->savepoint());
    ASSERT_TRUE(post(*one_, 4)) << "and posts go on after it";
    ASSERT_TRUE(one_->release_savepoint());
    ASSERT_TRUE(one_->commit());
    EXPECT_THAT(ids(*two_), ElementsAre("1", "2", "4"));
    ASSERT_TRUE(one_->begin(true));
    ASSERT_TRUE(post(*one_, 5));
    ASSERT_TRUE(one_->rollback());
    EXPECT_THAT(ids(*one_), ElementsAre("1", "2", "4"));
}

TEST_F(Postgres, KeepsNothingOfATransactionInWhichSomethingPostedHasFailed) {
    ASSERT_TRUE(insert(*one_, 9));
    const auto begin_with_a_failure = [&] { // of the first job, which was told that it is done
        EXPECT_TRUE(one_->begin(true));
        EXPECT_TRUE(one_->savepoint());
        EXPECT_TRUE(insert(*one_, 1));
        EXPECT_TRUE(post(*one_, 9));
        EXPECT_TRUE(one_->release_savepoint());
        EXPECT_TRUE(one_->savepoint());
    };
    begin_with_a_failure();
    EXPECT_EQ(code_of(insert(*one_, 2)), Code::kConflict) << "it is not this statement's";
    EXPECT_EQ(code_of(one_->rollback_to_savepoint()), Code::kConflict);
    EXPECT_EQ(code_of(post(*one_, 3)), Code::kConflict);
    EXPECT_EQ(code_of(one_->commit()), Code::kConflict);
    ASSERT_TRUE(one_->rollback());
    EXPECT_THAT(ids(*two_), ElementsAre("9"));

    begin_with_a_failure(); // found by the commit alone
    ASSERT_TRUE(one_->release_savepoint());
    EXPECT_EQ(code_of(one_->commit()), Code::kConflict);
    ASSERT_TRUE(one_->rollback());
    EXPECT_THAT(ids(*two_), ElementsAre("9"));

    begin_with_a_failure(); // never found
    ASSERT_TRUE(one_->rollback());
    ASSERT_TRUE(one_->begin(true));
    ASSERT_TRUE(insert(*one_, 4)) << "the next transaction is in order";
    ASSERT_TRUE(one_->commit());
    EXPECT_THAT(ids(*two_), ElementsAre("4", "9"));
}

TEST_F(Postgres, PostsMoreThanItLetsWaitAndPreparesAgainWhatMayNotBePrepared) {
    const std::string large(20'000, 'x');
    ASSERT_TRUE(one_->begin(true));
    for (std::int64_t id = 0; id < 40; ++id) {
        const lk_value values[] = {integer(id), blob(large)};
        ASSERT_TRUE(one_->post("INSERT INTO t(id, data) VALUES ($1, $2)", values)) << id;
    }
    ASSERT_TRUE(one_->commit());
    EXPECT_THAT(rows(*two_, "SELECT COUNT(*) FROM t"), ElementsAre("40"));
    const auto twice = "INSERT INTO t(id, name) VALUES ($1, 'new')"; // its first use fails, and one behind it
    const auto other = "UPDATE t SET name = 'newer' WHERE id = $1";
    const std::vector<lk_value> one{integer(1)};
    ASSERT_TRUE(one_->begin(true));
    ASSERT_TRUE(one_->post(twice, one));
    ASSERT_TRUE(one_->post(other, one));
    ASSERT_TRUE(one_->rollback());
    ASSERT_TRUE(one_->begin(true));
    EXPECT_TRUE(run(*one_, other, one));
    EXPECT_EQ(code_of(run(*one_, twice, one)), Code::kExists);
    ASSERT_TRUE(one_->rollback());
}

TEST_F(Postgres, GivesReadersASnapshotThatCannotWrite) {
    ASSERT_TRUE(one_->begin(false));
    EXPECT_THAT(ids(*one_), ElementsAre());
    ASSERT_TRUE(insert(*two_, 1));
    EXPECT_THAT(ids(*one_), ElementsAre());
    ASSERT_TRUE(one_->rollback());
    EXPECT_THAT(ids(*one_), ElementsAre("1"));
    ASSERT_TRUE(one_->begin(false));
    EXPECT_FALSE(insert(*one_, 2));
    ASSERT_TRUE(one_->rollback());
    ASSERT_TRUE(one_->begin(false)); // never sent
    ASSERT_TRUE(one_->rollback());
    EXPECT_THAT(ids(*one_), ElementsAre("1"));
}

TEST_F(Postgres, HasOneWriterAtATimeWhoSeesAllBefore) {
    ASSERT_TRUE(one_->begin(true));
    ASSERT_TRUE(insert(*one_, 1));
    std::atomic<bool> has_begun{false};
    Lines seen;
    std::thread other([&] {
        EXPECT_TRUE(two_->begin(true));
        has_begun = true;
        seen = ids(*two_);
        EXPECT_TRUE(two_->rollback());
    });
    EXPECT_THAT(rows(*connect(), "SELECT id FROM t"), ElementsAre()); // readers do not wait
    EXPECT_FALSE(has_begun);
    ASSERT_TRUE(one_->commit());
    other.join();
    EXPECT_THAT(seen, ElementsAre("1"));
}

TEST_F(Postgres, TellsWhoWaitsTooLongForTheWriteLockToTryAgain) {
    const auto impatient = connect({{"statement_timeout_ms", "2000"}});
    ASSERT_TRUE(one_->begin(true));
    EXPECT_EQ(code_of(impatient->begin(true)), Code::kConflict);
    ASSERT_TRUE(one_->rollback());
    ASSERT_TRUE(impatient->begin(true)) << "its connection is in order";
    ASSERT_TRUE(insert(*impatient, 1));
    ASSERT_TRUE(impatient->commit());
}

TEST_F(Postgres, EndsAStatementThatTakesTooLong) {
    const auto impatient = connect({{"statement_timeout_ms", "1000"}});
    EXPECT_EQ(code_of(run(*impatient, "SELECT 1 FROM pg_sleep(30)")), Code::kTimedOut);
    EXPECT_THAT(rows(*impatient, "SELECT 1"), ElementsAre("1"));
}

TEST_F(Postgres, NamesFaultsByTheirCodeAndNeverAValue) {
    ASSERT_TRUE(insert(*one_, 424242));
    const auto twice = insert(*one_, 424242);
    EXPECT_EQ(code_of(twice), Code::kExists);
    EXPECT_THAT(twice.error().line(), Not(HasSubstr("424242")));
    EXPECT_EQ(code_of(run(*one_, "SELECT * FROM no_such_table")), Code::kInternal);
    EXPECT_EQ(code_of(run(*one_, "SELECT $1, $2", {text("a")})), Code::kUsage);
    EXPECT_EQ(code_of(run(*one_, "SELECT $1", {text(std::string_view("a\0b", 3))})), Code::kMalformed);
    EXPECT_EQ(code_of(run(*one_, "SELECT $1", {text("\xff\xfe")})), Code::kMalformed);
    EXPECT_EQ(code_of(run(*one_, "SELECT 1.5")), Code::kUnsupported);
    EXPECT_THAT(rows(*one_, "SELECT $1", {text("a")}), ElementsAre("'a'"));
}

TEST_F(Postgres, GivesASessionUpThatTheServerEnded) {
    const std::string pid = rows(*one_, "SELECT pg_backend_pid()").front();
    ASSERT_TRUE(one_->begin(true));
    ASSERT_TRUE(insert(*one_, 1));
    rows(*two_, "SELECT pg_terminate_backend(" + pid + ")");
    EXPECT_EQ(code_of(one_->commit()), Code::kUnavailable);
    EXPECT_EQ(code_of(one_->rollback()), Code::kUnavailable);
    EXPECT_EQ(code_of(run(*one_, "SELECT 1")), Code::kUnavailable);
    ASSERT_TRUE(two_->begin(true)) << "its lock is free";
    EXPECT_THAT(ids(*two_), ElementsAre());
    ASSERT_TRUE(two_->rollback());
}

TEST_F(Postgres, CarriesWordOfWhatIsCommittedAndOfNothingElse) {
    Lines heard;
    const lk_row_sink sink{&heard, add_line};
    ASSERT_TRUE(two_->listen("a channel"));
    ASSERT_TRUE(one_->begin(true));
    ASSERT_TRUE(one_->notify("a channel", "un'done"));
    ASSERT_TRUE(one_->rollback());
    ASSERT_TRUE(one_->begin(true));
    ASSERT_TRUE(one_->notify("a channel", "it's done"));
    ASSERT_TRUE(one_->commit());
    ASSERT_TRUE(two_->wait(10'000, sdk::RowSink(&sink)));
    EXPECT_THAT(heard, ElementsAre("'a channel','it's done'"));
    ASSERT_TRUE(two_->wait(0, sdk::RowSink(&sink)));
    EXPECT_EQ(heard.size(), 1u);
}

TEST_F(Postgres, RunsAScriptInsideATransaction) {
    ASSERT_TRUE(one_->begin(true));
    ASSERT_TRUE(one_->run_script("INSERT INTO t(id) VALUES (1); INSERT INTO t(id) VALUES (2);"));
    EXPECT_FALSE(one_->run_script("INSERT INTO t(id) VALUES (3); INSERT INTO t(id) VALUES (1);"));
    ASSERT_TRUE(one_->rollback());
    EXPECT_THAT(ids(*one_), ElementsAre());
}

Result<std::unique_ptr<PostgresStore>> open_with(sdk::FakeHost::Settings settings) {
    const sdk::FakeHost host(std::move(settings));
    return PostgresStore::open(host.host());
}

TEST(PostgresSettings, WantAUrlThatParsesAndDoNotRepeatIt) {
    EXPECT_EQ(code_of(open_with({})), Code::kConfig);
    const auto wrong = open_with({{"url", "host=db hunter2 'oops"}});
    ASSERT_EQ(code_of(wrong), Code::kConfig);
    EXPECT_THAT(wrong.error().line(), Not(HasSubstr("hunter2")));
    EXPECT_EQ(code_of(open_with({{"url", "host=/run"}, {"pool", "9"}})), Code::kConfig);
    EXPECT_TRUE(open_with({{"url", "host=/run/postgresql dbname=latchkey"}}));
}

TEST(PostgresSettings, WantProofOfAServerOnAnotherMachine) {
    const auto bare = open_with({{"url", "host=db.example.org"}});
    ASSERT_EQ(code_of(bare), Code::kConfig);
    EXPECT_THAT(bare.error().next, HasSubstr("sslrootcert"));
    EXPECT_TRUE(open_with({{"url", "host=db.example.org"}, {"sslrootcert", "/etc/latchkey/db-ca.pem"}}));
    EXPECT_EQ(code_of(open_with({{"url", "host=db.example.org"}, {"sslmode", "yes"}})), Code::kConfig);
    sdk::FakeHost host({{"url", "postgresql://db.example.org/latchkey"}, {"sslmode", "require"}});
    EXPECT_TRUE(PostgresStore::open(host.host()));
    EXPECT_THAT(host.log(), ElementsAre(HasSubstr("does not prove which server answers")));
}

TEST(PostgresSettings, WantThatProofTooWhereTheEnvironmentNamesTheMachine) {
    ::setenv("PGHOST", "db.example.org", 1);
    const auto bare = open_with({{"url", "dbname=latchkey"}});
    const auto by_socket = open_with({{"url", "host=/run/postgresql dbname=latchkey"}});
    ::unsetenv("PGHOST");
    EXPECT_EQ(code_of(bare), Code::kConfig);
    EXPECT_TRUE(by_socket);
    EXPECT_TRUE(open_with({{"url", "dbname=latchkey"}}));
}

TEST(PostgresSettings, TellOfAServerThatIsNotThereInOneLine) {
    const sdk::FakeHost host({{"url", "host=/nonexistent dbname=latchkey"}});
    const auto made = std::move(*PostgresStore::open(host.host()))->connect();
    ASSERT_EQ(code_of(made), Code::kUnavailable);
    EXPECT_THAT(made.error().line(), Not(HasSubstr("\n")));
    EXPECT_THAT(made.error().next, HasSubstr("check that PostgreSQL runs"));
}

} // namespace
} // namespace latchkey::postgres
