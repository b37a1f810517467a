// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/writer.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <barrier>
#include <csignal>
#include <filesystem>
#include <latch>
#include <set>
#include <thread>
#include <utility>

#include "broker/ledger/audit.h"
#include "broker/ledger/counting_store_for_tests.h"
#include "broker/ledger/ledger_for_tests.h"
#include "broker/ledger/migrations.h"
#include "broker/ledger/revocations.h"

namespace latchkey::ledger {
namespace {

namespace fs = std::filesystem;

struct Folder { // made before the ledger in it, and gone after
    Folder() {
        std::string name = (fs::temp_directory_path() / "latchkey-ledger-XXXXXX").string();
        path = ::mkdtemp(name.data());
    }
    ~Folder() { fs::remove_all(path); }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    fs::path path;
};

class Commits : private Folder, public LedgerTest {
protected:
    Commits() : LedgerTest((path / "ledger.db").string()) {}
    fs::path file() const { return path / "ledger.db"; }
    bool exists(std::string_view name) {
        return take(read([&](Transaction& t) { return find_user(t, user_name(name)); })).has_value();
    }
    Status add(std::string_view name) {
        const auto added =
            write([&](Transaction& t) { return add_user(t, user_name(name), "", Role::kUser, "root"); });
        if (!added) return fail(added.error());
        return {};
    }
    bool is_chain_whole() {
        return read([](Transaction& t) { return verify_audit(t); }).has_value();
    }
};

TEST_F(Commits, AFailingJobAmongFiftyDoesNotFailItsNeighbours) {
    constexpr int kThreads = 50;
    std::barrier start(kThreads);
    std::vector<Code> codes(kThreads, Code::kUsage);
    std::vector<std::thread> threads;
    threads.reserve(kThreads);
    for (int i = 0; i < kThreads; ++i) {
        threads.emplace_back([&, i] {
            start.arrive_and_wait();
            const auto done = write([&](Transaction& t) -> Result<int> {
                LK_TRY(user, add_user(t, user_name("user" + std::to_string(i)), "", Role::kUser, "root"));
                if (i % 10 == 3) return fail(Code::kRefused, "this one fails after it wrote");
                return i;
            });
            codes[static_cast<std::size_t>(i)] = done ? Code::kPartial : done.error().code;
        });
    }
    for (std::thread& thread : threads) thread.join();
    for (int i = 0; i < kThreads; ++i) {
        const bool fails = i % 10 == 3;
        EXPECT_EQ(codes[static_cast<std::size_t>(i)], fails ? Code::kRefused : Code::kPartial) << i;
        EXPECT_EQ(exists("user" + std::to_string(i)), !fails) << i;
    }
    EXPECT_TRUE(is_chain_whole());
}

TEST_F(Commits, EpochsAndSequencesHaveNoGapUnderEightThreads) {
    constexpr int kThreads = 8;
    constexpr int kRounds = 25;
    std::vector<Person> people;
    people.reserve(kThreads);
    for (int i = 0; i < kThreads; ++i) people.push_back(add_person("user" + std::to_string(i)));
    add_person("victim");
    std::vector<std::vector<std::uint64_t>> epochs(kThreads);
    std::vector<std::vector<std::uint64_t>> sequences(kThreads);
    std::atomic<std::uint64_t> heard{0};
    std::atomic<bool> is_ordered{true};
    ledger_->on_epoch([&](Epoch epoch) {
        if (heard.exchange(epoch.value) >= epoch.value) is_ordered = false;
    });
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < kThreads; ++i) {
        threads.emplace_back([&, i] {
            for (int round = 0; round < kRounds; ++round) {
                sequences[i].push_back(issue(people[i]).sequence.value);
                const auto made = write([](Transaction& t) {
                    return revoke(t, {revocation::SelectorKind::kUser, "victim"}, "", "root");
                });
                if (made) epochs[i].push_back(made->revocation.epoch.value);
                const auto none = write([](Transaction& t) {
                    return revoke(t, {revocation::SelectorKind::kUser, "nobody"}, "", "root");
                });
                EXPECT_FALSE(none);
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    const auto expect_gap_free = [&](const std::vector<std::vector<std::uint64_t>>& all) {
        std::set<std::uint64_t> seen;
        for (const auto& own : all) {
            EXPECT_TRUE(std::ranges::is_sorted(own));
            seen.insert(own.begin(), own.end());
        }
        ASSERT_EQ(seen.size(), static_cast<std::size_t>(kThreads * kRounds));
        EXPECT_EQ(*seen.begin(), 1u);
        EXPECT_EQ(*seen.rbegin(), static_cast<std::uint64_t>(kThreads * kRounds));
    };
    expect_gap_free(epochs);
    expect_gap_free(sequences);
    EXPECT_EQ(heard.load(), static_cast<std::uint64_t>(kThreads * kRounds));
    EXPECT_TRUE(is_ordered);
    EXPECT_TRUE(is_chain_whole());
    EXPECT_EQ(ledger_->tampered_rows(), 0u);
}

TEST_F(Commits, AFullDatabaseFailsTheJobsKeepsNothingOfThemAndRecovers) {
    LK_SQLITE_ONLY("a PRAGMA makes it full");
    take(add("before"));
    const auto limit = [&](const char* pragma) { // on the writer's own connection
        take(write([&](Transaction& t) -> Status {
            LK_TRY(rows, t.sql.run(pragma, {}));
            return {};
        }));
    };
    limit("PRAGMA max_page_count = 1"); // as small as the database is
    int failed = 0;
    for (int i = 0; i < 200 && failed == 0; ++i) {
        const auto done = write([&](Transaction& t) -> Result<User> {
            LK_TRY(user, add_user(t, user_name("full" + std::to_string(i)), "", Role::kUser, "root"));
            LK_CHECK(append_audit(t, {"root", "test", "x", "done", std::string(20'000, 'x')}));
            return user;
        });
        if (done) continue;
        ++failed;
        EXPECT_EQ(done.error().code, Code::kIo);
        EXPECT_EQ(done.error().line().find('\n'), std::string::npos);
        EXPECT_FALSE(exists("full" + std::to_string(i)));
    }
    EXPECT_EQ(failed, 1);
    limit("PRAGMA max_page_count = 1000000");
    take(add("after"));
    EXPECT_TRUE(exists("before"));
    EXPECT_TRUE(exists("after"));
    EXPECT_TRUE(is_chain_whole());
}

// The disk is full at the commit itself: what the job did had already succeeded.
TEST_F(Commits, AFailedCommitHandsNothingOut) {
    LK_SQLITE_ONLY("its file cannot grow");
    const Person bob = add_person("bob");
    std::signal(SIGXFSZ, SIG_IGN);
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
    rlimit tight = before;
    tight.rlim_cur = fs::file_size(file().string() + "-wal") + 100;
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &tight), 0);
    bool has_run = false;
    const auto issued = try_issue(bob);
    const auto added = write([&](Transaction& t) -> Result<User> {
        auto user = add_user(t, user_name("eve"), "", Role::kUser, "root");
        has_run = user.has_value();
        return user;
    });
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
    EXPECT_EQ(code_of(issued), Code::kIo);
    EXPECT_EQ(code_of(added), Code::kIo);
    EXPECT_TRUE(has_run) << "the statements succeeded, the commit did not";
    EXPECT_FALSE(exists("eve"));
    EXPECT_TRUE(take(read([&](Transaction& t) { return live_serials_of(t, bob.user.name, t.now); })).empty());
    EXPECT_EQ(issue(bob).sequence.value, 1u);
    take(add("eve"));
    EXPECT_TRUE(is_chain_whole());
}

// The failure of what was posted is known only after its job has ended.
TEST_F(Commits, ADuplicateSerialFailsItsOwnJobAmongSixteen) {
    constexpr std::size_t kJobs = 16;
    const Person bob = add_person("bob");
    const auto record = [&](std::uint64_t serial) {
        const auto certificate = make_certificate(bob.user, bob.key, clock_.now(), from_seconds(600), serial);
        return write([&](Transaction& t) {
            return record_certificate(t, certificate, bob.user.id, bob.key.id, bob.unlock.id, ledger_key(),
                                      "bob");
        });
    };
    take(record(1000 + kJobs / 2));
    std::latch is_running(1);
    std::latch may_end(1);
    std::thread busy([&] { // so that the others share a commit
        take(write([&](Transaction& t) {
            is_running.count_down();
            may_end.wait();
            return append_audit(t, {"root", "test", "x", "done", "{}"});
        }));
    });
    is_running.wait();
    std::vector<std::optional<Code>> codes(kJobs);
    std::vector<std::uint64_t> sequences(kJobs);
    std::latch are_coming(kJobs);
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < kJobs; ++i) {
        threads.emplace_back([&, i] {
            are_coming.count_down();
            const auto row = record(1000 + i);
            if (row) sequences[i] = row->sequence.value;
            if (!row) codes[i] = row.error().code;
        });
    }
    are_coming.wait();
    may_end.count_down();
    busy.join();
    for (std::thread& thread : threads) thread.join();
    std::set<std::uint64_t> seen;
    for (std::size_t i = 0; i < kJobs; ++i) {
        const bool fails = i == kJobs / 2;
        EXPECT_EQ(codes[i], fails ? std::optional(Code::kExists) : std::nullopt) << i;
        if (!fails) seen.insert(sequences[i]);
    }
    EXPECT_EQ(seen.size(), kJobs - 1);
    EXPECT_EQ(*seen.rbegin(), kJobs) << "gap-free behind the one of before";
    EXPECT_TRUE(is_chain_whole());
}

TEST_F(Commits, TellPolicyChangesAfterwardsAndOnlyThose) {
    std::atomic<int> told{0};
    ledger_->on_policy_change([&] { ++told; });
    take(add("bob"));
    EXPECT_EQ(told, 1);
    EXPECT_FALSE(add("bob"));
    EXPECT_EQ(told, 1) << "nothing was committed";
    take(write([](Transaction& t) { return append_audit(t, {"root", "test", "x", "done", "{}"}); }));
    EXPECT_EQ(told, 1);
}

TEST_F(Commits, AJobThatCallsTheLedgerIsRefusedAndNotDeadlocked) {
    EXPECT_EQ(code_of(write([&](Transaction&) { return add("bob"); })), Code::kInternal);
    EXPECT_EQ(code_of(read([&](Transaction&) { return add("bob"); })), Code::kInternal);
    EXPECT_EQ(code_of(write([&](Transaction& t) { return t.sql.commit(); })), Code::kInternal);
    take(add("bob"));
}

TEST_F(Commits, AJobThatThrowsIsRolledBack) {
    EXPECT_EQ(code_of(write([&](Transaction& t) -> Status {
                  LK_TRY(user, add_user(t, user_name("bob"), "", Role::kUser, "root"));
                  throw std::bad_alloc();
              })),
              Code::kInternal);
    EXPECT_FALSE(exists("bob"));
    take(add("bob"));
}

TEST_F(Commits, TooManyWaitingJobsAreRefusedAtOnce) {
    ledger_.reset();
    ledger_ = take(
        Ledger::open(*store_, {.data_key = data_key(), .clock = &clock_, .readers = 1, .max_waiting = 2}));
    std::latch is_running(1);
    std::latch may_end(1);
    std::thread busy([&] {
        take(write([&](Transaction&) -> Status {
            is_running.count_down();
            may_end.wait();
            return {};
        }));
    });
    is_running.wait();
    std::atomic<int> refused{0};
    std::atomic<int> done{0};
    std::vector<std::thread> threads;
    threads.reserve(5);
    for (int i = 0; i < 5; ++i) {
        threads.emplace_back([&, i] {
            const Status status = add("user" + std::to_string(i));
            if (status) ++done;
            if (!status && status.error().code == Code::kUnavailable) ++refused;
        });
    }
    while (refused < 3) std::this_thread::yield();
    may_end.count_down();
    busy.join();
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(refused, 3);
    EXPECT_EQ(done, 2);
}

// By the clock that the jobs themselves move: however long they take, a commit takes up none after its time.
TEST_F(Commits, HoldTheWriteLockForAQuarterOfASecondAndOneJob) {
    Counted counted;
    CountingStore counting(*store_, counted);
    ledger_ = take(Ledger::open(counting, {.data_key = data_key(), .clock = &clock_, .readers = 1}));
    constexpr int kJobs = 30;
    std::latch is_running(1);
    std::latch may_end(1);
    int in_commit = 0; // the writer's thread's own
    int most = 0;
    counted.on_commit = [&] { most = std::max(most, std::exchange(in_commit, 0)); };
    std::thread busy([&] {
        take(write([&](Transaction& t) {
            is_running.count_down();
            may_end.wait();
            return append_audit(t, {"root", "test", "x", "done", "{}"});
        }));
    });
    is_running.wait();
    std::atomic<int> done{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < kJobs; ++i) {
        threads.emplace_back([&] {
            const Status status = write([&](Transaction& t) {
                ++in_commit;
                clock_.advance(from_millis(100));
                return append_audit(t, {"root", "test", "y", "done", "{}"});
            });
            if (status) ++done;
        });
    }
    may_end.count_down();
    busy.join();
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(done, kJobs) << "those that were put back are done later, each once";
    EXPECT_GE(most, 1);
    EXPECT_LE(most, 3);
    EXPECT_EQ(by_hand("SELECT 1 FROM audit WHERE object = 'y'").rows.size(), static_cast<std::size_t>(kJobs));
    EXPECT_TRUE(is_chain_whole());
    ledger_.reset(); // before what it borrows
}

TEST_F(Commits, ReadersSeeWholeCommitsWhileOneIsRunning) {
    take(write([&](Transaction& t) -> Status {
        LK_TRY(user, add_user(t, user_name("bob"), "", Role::kUser, "root"));
        bool is_seen = true;
        std::thread reader([&] { is_seen = exists("bob"); });
        reader.join();
        EXPECT_FALSE(is_seen);
        return {};
    }));
    EXPECT_TRUE(exists("bob"));
}

TEST_F(Commits, AnotherProgramsLockIsWaitedForOrTold) {
    plugin_host::Loader loader(LK_PLUGIN_DIR);
    auto impatient =
        is_on_postgres()
            ? take(loader.store("postgres", {{"url", std::getenv("LATCHKEY_TEST_POSTGRES")},
                                             {"statement_timeout_ms", "1000"}}))
            : take(loader.store("sqlite", {{"path", file().string()}, {"busy_timeout_ms", "1"}}));
    auto second = take(Ledger::open(*impatient, {.data_key = data_key(), .clock = &clock_}));
    const auto other = take(store_->connect());
    take(other->begin(true));
    EXPECT_EQ(code_of(second->write(
                  [](Transaction& t) { return add_user(t, user_name("bob"), "", Role::kUser, "root"); })),
              Code::kUnavailable);
    take(other->rollback());
    EXPECT_TRUE(
        second->write([](Transaction& t) { return add_user(t, user_name("bob"), "", Role::kUser, "root"); }));
    take(add("eve")); // the first ledger: the chain goes on from what the second wrote
    EXPECT_TRUE(is_chain_whole());
}

TEST_F(Commits, MigrationsAreAppliedOnce) {
    take(add("bob"));
    take(Ledger::migrate(*store_));
    take(Ledger::migrate(*store_));
    reopen();
    EXPECT_TRUE(exists("bob"));
}

TEST_F(Commits, AWrongDataKeyIsOneClearError) {
    take(add("bob"));
    const auto opened = Ledger::open(*store_, {.data_key = data_key(9), .clock = &clock_});
    ASSERT_EQ(code_of(opened), Code::kConfig);
    EXPECT_EQ(opened.error().message, "the data key does not fit this database");
    EXPECT_EQ(code_of(Ledger::open(*store_, {.data_key = SecretBytes(5), .clock = &clock_})), Code::kConfig);
    reopen();
    EXPECT_TRUE(exists("bob"));
}

TEST_F(Commits, ADatabaseWithoutItsMarkOfTheDataKeyIsRefused) {
    ledger_.reset();
    by_hand("DELETE FROM settings");
    EXPECT_EQ(code_of(Ledger::open(*store_, {.data_key = data_key(), .clock = &clock_})), Code::kTampered);
}

TEST_F(Commits, AnotherSchemaIsRefusedWithTheLineToRun) {
    ledger_.reset();
    const auto version = by_hand("SELECT version FROM schema_version").rows.front();
    by_hand("UPDATE schema_version SET version = 0");
    const auto older = Ledger::open(*store_, {.data_key = data_key(), .clock = &clock_});
    EXPECT_EQ(code_of(older), Code::kConfig);
    EXPECT_NE(older.error().next.find("run: "), std::string::npos);
    by_hand("UPDATE schema_version SET version = 999");
    EXPECT_EQ(code_of(Ledger::open(*store_, {.data_key = data_key(), .clock = &clock_})), Code::kUnsupported);
    EXPECT_EQ(code_of(Ledger::migrate(*store_)), Code::kUnsupported);
    by_hand("UPDATE schema_version SET version = $1", version); // the next case may have this database
}

TEST(LedgerOpen, TellsAUsedDatabaseWithoutItsKey) {
    LK_SQLITE_ONLY("files");
    const Folder folder;
    const MovableClock clock;
    plugin_host::Loader loader(LK_PLUGIN_DIR);
    const auto store = take(loader.store("sqlite", {{"path", (folder.path / "new.db").string()}}));
    EXPECT_TRUE(Ledger::migrate(*store));
    const auto connection = take(store->connect());
    EXPECT_FALSE(take(is_used(*connection)));
    take(Ledger::open(*store, {.data_key = data_key(), .clock = &clock}));
    EXPECT_TRUE(take(is_used(*connection)));
    take(connection->run("UPDATE schema_version SET version = 1", {})); // of an older program
    EXPECT_TRUE(take(is_used(*connection)));
}

TEST(LedgerOpen, ADatabaseThatWasNeverMadeIsOneLine) {
    LK_SQLITE_ONLY("files");
    const Folder folder;
    const MovableClock clock;
    plugin_host::Loader loader(LK_PLUGIN_DIR);
    const auto store = take(loader.store("sqlite", {{"path", (folder.path / "new.db").string()}}));
    EXPECT_FALSE(take(is_used(*take(store->connect()))));
    const auto opened = Ledger::open(*store, {.data_key = data_key(), .clock = &clock});
    ASSERT_EQ(code_of(opened), Code::kConfig);
    EXPECT_EQ(opened.error().line().find('\n'), std::string::npos);
    EXPECT_EQ(opened.error().next, "run: latchkeyd init");
    const auto missing = loader.store("sqlite", {{"path", (folder.path / "no" / "such.db").string()}});
    ASSERT_FALSE(missing);
    EXPECT_EQ(missing.error().line().find('\n'), std::string::npos);
}

TEST(LedgerOpen, AFileThatIsNoDatabaseIsOneLine) {
    LK_SQLITE_ONLY("files");
    const Folder folder;
    const MovableClock clock;
    const auto file = folder.path / "ledger.db";
    {
        plugin_host::Loader loader(LK_PLUGIN_DIR);
        const auto store = take(loader.store("sqlite", {{"path", file.string()}}));
        take(Ledger::migrate(*store));
    }
    fs::resize_file(file, 0);
    {
        std::FILE* out = std::fopen(file.c_str(), "w");
        for (int i = 0; i < 5000; ++i) std::fputs("not a database ", out);
        std::fclose(out);
    }
    plugin_host::Loader loader(LK_PLUGIN_DIR);
    auto store = loader.store("sqlite", {{"path", file.string()}});
    if (!store) {
        EXPECT_EQ(store.error().line().find('\n'), std::string::npos);
        return;
    }
    const auto opened = Ledger::open(**store, {.data_key = data_key(), .clock = &clock});
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().line().find('\n'), std::string::npos);
}

} // namespace
} // namespace latchkey::ledger
