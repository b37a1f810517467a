// SPDX-License-Identifier: Apache-2.0
// Several ledgers on one database, and a database that goes away: in the very commit, or between two.
#include <atomic>
#include <chrono>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

#include "broker/ledger/audit.h"
#include "broker/ledger/ledger_for_tests.h"
#include "broker/ledger/random_word.h"
#include "broker/ledger/revocations.h"

namespace latchkey::ledger {
namespace {

using plugin_host::Connection;
using plugin_host::Store;

template <class Predicate>
bool eventually(Predicate predicate) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (!predicate()) {
        if (std::chrono::steady_clock::now() > until) return false;
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return true;
}

// --- The connection is lost while it commits
// ---------------------------------------------------------------------

enum class Fate { kDone = 1, kUndone };

struct Trouble {
    std::optional<Fate> next; // of the commit that loses its connection
    int connects_refused = 0; // how often the database is away after it
    bool breaks_next =
        false; // that commit fails for another reason, and each call of its connection after it
};

class FrailConnection : public Connection {
public:
    FrailConnection(std::unique_ptr<Connection> real, Trouble& trouble)
        : real_(std::move(real)), trouble_(trouble) {}

    Result<plugin_host::Rows> run(std::string_view sql, std::span<const plugin_host::Value> values) override {
        if (is_broken_) return broken();
        return real_->run(sql, values);
    }
    Status run_script(std::string_view sql) override { return real_->run_script(sql); }
    Status begin(bool for_writing) override {
        return is_broken_ ? Status(broken()) : real_->begin(for_writing);
    }
    Status commit() override {
        if (std::exchange(trouble_.breaks_next, false)) {
            LK_CHECK(real_->rollback());
            is_broken_ = true;
            return broken();
        }
        if (!trouble_.next) return real_->commit();
        const Fate fate = *trouble_.next;
        trouble_.next.reset();
        LK_CHECK(fate == Fate::kDone ? real_->commit() : real_->rollback());
        return fail(Code::kUnavailable, "the connection was lost");
    }
    Status rollback() override { return real_->rollback(); }
    Status savepoint() override { return real_->savepoint(); }
    Status release_savepoint() override { return real_->release_savepoint(); }
    Status rollback_to_savepoint() override { return real_->rollback_to_savepoint(); }
    Status notify(std::string_view, std::string_view) override { return {}; }

private:
    static Failure broken() { return fail(Code::kIo, "no space left on device"); }

    std::unique_ptr<Connection> real_;
    Trouble& trouble_;
    bool is_broken_ = false;
};

class FrailStore : public Store {
public:
    FrailStore(Store& real, Trouble& trouble) : real_(real), trouble_(trouble) {}
    Result<std::unique_ptr<Connection>> connect() override {
        if (trouble_.connects_refused > 0) {
            --trouble_.connects_refused;
            return fail(Code::kUnavailable, "the database is away");
        }
        LK_TRY(made, real_.connect());
        return std::unique_ptr<Connection>(std::make_unique<FrailConnection>(std::move(made), trouble_));
    }
    std::string_view dialect() const override { return real_.dialect(); }
    bool listens() const override { return true; }

private:
    Store& real_;
    Trouble& trouble_;
};

class ALostCommit : public LedgerTest {
protected:
    ALostCommit() : frail_(*store_, trouble_) {
        ledger_.reset();
        ledger_ = take(Ledger::open(frail_, {.data_key = data_key(),
                                             .clock = &clock_,
                                             .readers = 1,
                                             .settle_for = settle_for(),
                                             .hears_others = false}));
    }
    static std::chrono::milliseconds settle_for() {
        const std::string name = ::testing::UnitTest::GetInstance()->current_test_info()->name();
        return std::chrono::milliseconds(name == "WhoseFateNobodyTellsHandsNothingOut" ? 300 : 30'000);
    }
    std::size_t certificates() {
        return static_cast<std::size_t>(
            std::get<std::int64_t>(by_hand("SELECT COUNT(*) FROM certificates").rows[0][0]));
    }
    bool is_chain_whole() {
        return read([](Transaction& t) { return verify_audit(t); }).has_value();
    }

    Trouble trouble_;
    FrailStore frail_;
};

TEST_F(ALostCommit, ThatWasDoneIsAnsweredAsDoneOnce) {
    const Person bob = add_person("bob");
    trouble_.next = Fate::kDone;
    EXPECT_EQ(issue(bob).sequence.value, 1u);
    EXPECT_EQ(certificates(), 1u);
    EXPECT_TRUE(is_chain_whole());
}

TEST_F(ALostCommit, ThatWasNotDoneIsMadeAgainOnce) {
    const Person bob = add_person("bob");
    trouble_.next = Fate::kUndone;
    EXPECT_EQ(issue(bob).sequence.value, 1u);
    EXPECT_EQ(certificates(), 1u);
    EXPECT_TRUE(is_chain_whole());
}

TEST_F(ALostCommit, IsLookedForUntilTheDatabaseIsBack) {
    const Person bob = add_person("bob");
    trouble_.next = Fate::kDone;
    trouble_.connects_refused = 3;
    EXPECT_EQ(issue(bob).sequence.value, 1u);
    EXPECT_EQ(certificates(), 1u);
}

TEST_F(ALostCommit, OfARevocationIsToldOnceToWhoListens) {
    add_person("bob");
    std::vector<std::uint64_t> told;
    ledger_->on_epoch([&](Epoch epoch) { told.push_back(epoch.value); });
    trouble_.next = Fate::kDone;
    const auto made = write([](Transaction& t) {
        return revoke(t, {revocation::SelectorKind::kUser, "bob"}, "lost", "admin");
    });
    ASSERT_TRUE(made) << made.error().line();
    EXPECT_EQ(told, std::vector<std::uint64_t>{1});
}

TEST_F(ALostCommit, WhoseFateNobodyTellsHandsNothingOut) {
    const Person bob = add_person("bob");
    trouble_.next = Fate::kDone;
    trouble_.connects_refused = 1'000'000;
    const auto issued = try_issue(bob);
    EXPECT_EQ(code_of(issued), Code::kUnavailable);
    EXPECT_EQ(issued.error().line().find('\n'), std::string::npos);
    EXPECT_NE(issued.error().next.find("look"), std::string::npos);
}

TEST_F(ALostCommit, ThatBreaksItsConnectionFailsAloneAndTheNextHasAnother) {
    const Person bob = add_person("bob");
    trouble_.breaks_next = true;
    EXPECT_EQ(code_of(try_issue(bob)), Code::kIo);
    EXPECT_EQ(issue(bob).sequence.value, 1u);
    EXPECT_EQ(certificates(), 1u);
    EXPECT_TRUE(is_chain_whole());
}

TEST_F(ALostCommit, KeepsTheWordOfATamperedRowForTheNext) {
    add_person("bob");
    by_hand("UPDATE users SET role = 3 WHERE name = 'bob'");
    trouble_.breaks_next = true;
    EXPECT_FALSE(take(read([](Transaction& t) { return find_user(t, user_name("bob")); })));
    // The word of it is alone in the commit that fails, or with this one, which then is made again.
    EXPECT_TRUE(eventually([&] {
        return write([](Transaction& t) {
                   return append_audit(t, {"root", "test", "x", "done", "{}"});
               })
            .has_value();
    }));
    EXPECT_EQ(by_hand("SELECT 1 FROM audit WHERE action = 'row.tampered'").rows.size(), 1u);
    EXPECT_TRUE(is_chain_whole());
}

// --- Several brokers
// ---------------------------------------------------------------------------------------------

class SeveralBrokers : public LedgerTest {
protected:
    void SetUp() override {
        if (!is_on_postgres()) GTEST_SKIP() << "one broker alone has an SQLite database";
    }
    std::unique_ptr<Ledger> another() {
        return take(Ledger::open(*store_, {.data_key = data_key(), .clock = &clock_, .readers = 1}));
    }
    void end_all_sessions() {
        by_hand(
            "SELECT COUNT(pg_terminate_backend(pid, 20000)) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'");
    }
    static Result<RevocationRow> revoke_user(Ledger& ledger, const std::string& name) {
        return ledger.write([&](Transaction& t) {
            return revoke(t, {revocation::SelectorKind::kUser, name}, "", "admin");
        });
    }
    static Status add(Ledger& ledger, const std::string& name) {
        const auto added = ledger.write(
            [&](Transaction& t) { return add_user(t, user_name(name), "", Role::kUser, "root"); });
        if (!added) return fail(added.error());
        return {};
    }
};

TEST_F(SeveralBrokers, HearOfEachOthersCommits) {
    const auto second = another();
    std::atomic<std::uint64_t> epoch{0};
    std::atomic<int> policy{0};
    std::atomic<int> taken{0};
    second->on_epoch([&](Epoch heard) { epoch = heard.value; });
    second->on_policy_change([&] { ++policy; });
    second->on_access_taken([&] { ++taken; });
    add_person("bob");
    EXPECT_TRUE(eventually([&] { return policy > 0; }));
    take(revoke_user(*ledger_, "bob"));
    EXPECT_TRUE(eventually([&] { return epoch == 1; }));
    EXPECT_EQ(taken, 0) << "whom a revocation names hears of the epoch";
    add_person("eve");
    take(write([](Transaction& t) { return lock_user(t, user_name("eve"), "test", "admin"); }));
    EXPECT_TRUE(eventually([&] { return taken > 0; }));
}

TEST_F(SeveralBrokers, TellTheirOwnCommitsOnce) {
    const auto second = another(); // with an ear, which sees them too
    std::atomic<int> told{0};
    second->on_epoch([&](Epoch) { ++told; });
    take(add(*second, "bob"));
    for (int i = 0; i < 20; ++i) take(revoke_user(*second, "bob"));
    EXPECT_EQ(told, 20);
}

TEST_F(SeveralBrokers, GoOnAfterTheDatabaseEndedTheirSessions) {
    const auto second = another();
    std::atomic<std::uint64_t> epoch{0};
    second->on_epoch([&](Epoch heard) { epoch = heard.value; });
    add_person("bob");
    end_all_sessions();
    EXPECT_TRUE(second->read([](Transaction& t) { return find_user(t, user_name("bob")); }));
    EXPECT_TRUE(add(*second, "eve"));
    end_all_sessions();
    take(revoke_user(*ledger_, "bob"));
    EXPECT_TRUE(eventually([&] { return epoch == 1; })) << "what was missed is told after the reconnect";
}

TEST_F(SeveralBrokers, ShareEpochsSequencesAndTheAuditChainWithoutAGap) {
    constexpr int kRounds = 20;
    std::vector<std::unique_ptr<Ledger>> brokers;
    for (int i = 0; i < 3; ++i) brokers.push_back(another());
    const Person bob = add_person("bob");
    add_person("victim");
    std::mutex mutex;
    std::multiset<std::uint64_t> epochs;
    std::multiset<std::uint64_t> sequences;
    std::vector<std::thread> threads;
    for (const auto& broker : brokers) {
        threads.emplace_back([&, one = broker.get()] {
            for (int round = 0; round < kRounds; ++round) {
                const std::uint64_t serial = (random_number() >> 1) | 1;
                const auto certificate =
                    make_certificate(bob.user, bob.key, clock_.now(), from_seconds(600), serial);
                const auto row = one->write([&](Transaction& t) {
                    return record_certificate(t, certificate, bob.user.id, bob.key.id, bob.unlock.id,
                                              ledger_key(), "bob");
                });
                const auto made = revoke_user(*one, "victim");
                const std::lock_guard lock(mutex);
                if (row) sequences.insert(row->sequence.value);
                if (made) epochs.insert(made->revocation.epoch.value);
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    std::multiset<std::uint64_t> all;
    for (std::uint64_t i = 1; i <= 3 * kRounds; ++i) all.insert(i);
    EXPECT_EQ(epochs, all);
    EXPECT_EQ(sequences, all);
    EXPECT_TRUE(read([](Transaction& t) { return verify_audit(t); }));
    EXPECT_EQ(ledger_->tampered_rows(), 0u);
}

} // namespace
} // namespace latchkey::ledger
