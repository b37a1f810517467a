// SPDX-License-Identifier: Apache-2.0
// The database as a file: how it is made, what is refused, what is kept.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "plugins/sqlite/test_database.h"

namespace latchkey::sqlite {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

class SqliteFile : public testing::Test {
protected:
    SqliteFile() {
        std::string name = (fs::temp_directory_path() / "lk-sqlite-XXXXXX").string();
        folder_ = ::mkdtemp(name.data());
        path_ = folder_ / "ledger.db";
    }
    ~SqliteFile() override { fs::remove_all(folder_); }

    std::map<std::string, std::string> settings() const {
        return {{"path", path_}, {"busy_timeout_ms", "0"}};
    }
    Error open_error(const std::map<std::string, std::string>& settings) const {
        const sdk::FakeHost host(settings);
        const auto opened = SqliteStore::open(host.host());
        EXPECT_FALSE(opened);
        return opened ? Error{} : opened.error();
    }
    Error open_error() const { return open_error(settings()); }
    static unsigned mode(const fs::path& path) {
        struct stat info {};
        EXPECT_EQ(::stat(path.c_str(), &info), 0) << path;
        return info.st_mode & 07777;
    }
    void write(std::string_view content) const {
        std::ofstream(path_) << content;
        ::chmod(path_.c_str(), 0600);
    }

    fs::path folder_;
    fs::path path_;
};

TEST_F(SqliteFile, IsMadeForItsOwnerAloneWhateverTheUmask) {
    const mode_t before = ::umask(0);
    TestDatabase database(settings());
    ASSERT_TRUE(database.connect()->run_script("CREATE TABLE t(x)"));
    ::umask(before);
    EXPECT_EQ(mode(path_), 0600u);
    EXPECT_EQ(mode(path_.string() + "-wal"), 0600u);
    EXPECT_EQ(mode(path_.string() + "-shm"), 0600u);
}

TEST_F(SqliteFile, HoldsWhatWasCommittedOverAReopening) {
    {
        TestDatabase database(settings());
        ASSERT_TRUE(database.connect()->run_script("CREATE TABLE t(x); INSERT INTO t VALUES (7)"));
    }
    TestDatabase database(settings());
    EXPECT_THAT(rows(*database.connect(), "SELECT x FROM t"), ElementsAre("7"));
}

TEST_F(SqliteFile, SyncsEveryCommitToAWriteAheadLog) {
    TestDatabase database(settings());
    const auto connection = database.connect();
    EXPECT_THAT(rows(*connection, "PRAGMA journal_mode"), ElementsAre("'wal'"));
    EXPECT_THAT(rows(*connection, "PRAGMA synchronous"), ElementsAre("2")); // FULL
    EXPECT_THAT(rows(*connection, "PRAGMA foreign_keys"), ElementsAre("1"));
    EXPECT_THAT(rows(*connection, "PRAGMA trusted_schema"), ElementsAre("0"));
}

TEST_F(SqliteFile, LetsReadersOnWhileAWriterHasItsTransaction) {
    TestDatabase database(settings());
    const auto writer = database.connect(), reader = database.connect();
    ASSERT_TRUE(writer->run_script("CREATE TABLE t(x); INSERT INTO t VALUES (1)"));
    ASSERT_TRUE(writer->begin(true));
    ASSERT_TRUE(run(*writer, "UPDATE t SET x = 2"));
    EXPECT_THAT(rows(*reader, "SELECT x FROM t"), ElementsAre("1"));
    ASSERT_TRUE(writer->commit());
    EXPECT_THAT(rows(*reader, "SELECT x FROM t"), ElementsAre("2"));
}

TEST_F(SqliteFile, CallsAWriteUponAnOldReadAConflict) {
    TestDatabase database(settings());
    const auto one = database.connect(), two = database.connect();
    ASSERT_TRUE(one->run_script("CREATE TABLE t(x); INSERT INTO t VALUES (1)"));
    ASSERT_TRUE(one->begin(false));
    ASSERT_TRUE(run(*one, "SELECT x FROM t"));
    ASSERT_TRUE(run(*two, "UPDATE t SET x = 2"));
    EXPECT_EQ(code_of(run(*one, "UPDATE t SET x = x + 10")), Code::kConflict);
    ASSERT_TRUE(one->rollback());
    ASSERT_TRUE(run(*one, "UPDATE t SET x = x + 10"));
    EXPECT_THAT(rows(*two, "SELECT x FROM t"), ElementsAre("12"));
}

TEST_F(SqliteFile, CallsAFullDatabaseIoAndKeepsNothingOfTheTransaction) {
    TestDatabase database(settings());
    const auto connection = database.connect();
    ASSERT_TRUE(connection->run_script("CREATE TABLE t(x)"));
    ASSERT_TRUE(run(*connection, "PRAGMA max_page_count = 3"));
    ASSERT_TRUE(connection->begin(true));
    ASSERT_TRUE(run(*connection, "INSERT INTO t VALUES (1)"));
    const std::string much(100'000, 'x');
    const auto full = run(*connection, "INSERT INTO t VALUES ($1)", {blob(much)});
    EXPECT_EQ(code_of(full), Code::kIo);
    EXPECT_THAT(full.error().message, HasSubstr("the disk is full"));
    EXPECT_THAT(full.error().next, HasSubstr("free space"));
    ASSERT_TRUE(connection->rollback());
    EXPECT_THAT(rows(*connection, "SELECT count(*) FROM t"), ElementsAre("0"));
    ASSERT_TRUE(run(*connection, "INSERT INTO t VALUES (2)"));
}

TEST_F(SqliteFile, IsRefusedWhereItsFolderDoesNotExist) {
    path_ = folder_ / "none" / "ledger.db";
    EXPECT_EQ(open_error().code, Code::kNotFound);
    EXPECT_THAT(open_error().message, HasSubstr("none"));
    EXPECT_FALSE(fs::exists(folder_ / "none"));
}

TEST_F(SqliteFile, IsRefusedWhereOthersMayReadIt) {
    { const TestDatabase database(settings()); }
    ::chmod(path_.c_str(), 0640);
    EXPECT_EQ(open_error().code, Code::kRefused);
    EXPECT_THAT(open_error().next, HasSubstr("chmod 600"));
    ::chmod(path_.c_str(), 0600);
    const TestDatabase database(settings());
}

TEST_F(SqliteFile, IsRefusedWhereItIsALinkOrAFolder) {
    { const TestDatabase database(settings()); }
    fs::create_symlink(path_, folder_ / "link");
    fs::create_directory(folder_ / "sub");
    EXPECT_EQ(open_error({{"path", folder_ / "link"}}).code, Code::kRefused);
    EXPECT_EQ(open_error({{"path", folder_ / "sub"}}).code, Code::kRefused);
}

TEST_F(SqliteFile, IsRefusedWhereItIsNoDatabase) {
    write(std::string(8192, 'x'));
    EXPECT_EQ(open_error().code, Code::kTampered);
    EXPECT_THAT(open_error().message, HasSubstr(path_.string()));
    std::ifstream file(path_);
    EXPECT_EQ(file.get(), 'x') << "it was written over";
}

TEST_F(SqliteFile, IsCalledTamperedWhereAPageIsDamaged) {
    {
        TestDatabase database(settings());
        ASSERT_TRUE(database.connect()->run_script("CREATE TABLE t(x); INSERT INTO t VALUES (1)"));
    }
    std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(4096) << std::string(4096, '\xee');
    file.close();
    TestDatabase database(settings());
    EXPECT_EQ(code_of(run(*database.connect(), "SELECT x FROM t")), Code::kTampered);
}

TEST_F(SqliteFile, IsCalledUnavailableOnceItIsGone) {
    TestDatabase database(settings());
    fs::remove(path_);
    const auto connection = database.store->connect();
    ASSERT_FALSE(connection);
    EXPECT_EQ(connection.error().code, Code::kUnavailable);
    EXPECT_FALSE(fs::exists(path_)) << "it was made anew, empty";
}

TEST_F(SqliteFile, TakesItsOwnSettingsOnly) {
    EXPECT_EQ(open_error({}).code, Code::kConfig);
    EXPECT_EQ(open_error({{"path", ""}}).code, Code::kConfig);
    EXPECT_EQ(open_error({{"path", "ledger.db"}}).code, Code::kConfig);
    EXPECT_EQ(open_error({{"path", ":memory:"}, {"sync", "off"}}).code, Code::kConfig);
    EXPECT_EQ(open_error({{"path", ":memory:"}, {"busy_timeout_ms", "-1"}}).code, Code::kConfig);
}

} // namespace
} // namespace latchkey::sqlite
