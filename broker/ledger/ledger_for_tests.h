// SPDX-License-Identifier: Apache-2.0
#pragma once
// A ledger over the real sqlite plugin, in memory or in a file, for the tests of this folder and of the rooms
// above it: with people, keys and certificates at hand, and a second connection for the hand that changes
// rows in the database itself. Beside tests/support/with_postgres the same runs on PostgreSQL, each case on
// emptied tables: one process at a time. Needs LK_PLUGIN_DIR and the targets plugin-sqlite, plugin-postgres.

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <optional>
#include <string>

#include "broker/ledger/certificates.h"
#include "broker/ledger/factors.h"
#include "broker/ledger/holders.h"
#include "broker/ledger/ledger.h"
#include "broker/ledger/users.h"
#include "broker/plugin_host/loader.h"

namespace latchkey::ledger {

class MovableClock : public Clock { // as FakeClock, and read by the writer's thread meanwhile
public:
    Micros now() const override { return {now_.load()}; }
    Micros monotonic() const override { return {now_.load() - kStart}; }
    void advance(Micros by) { now_ += by.value; }

private:
    static constexpr std::int64_t kStart = 1'800'000'000'000'000;
    std::atomic<std::int64_t> now_{kStart};
};

template <class T>
T take(Result<T> result) {
    if (!result) throw std::runtime_error(result.error().line());
    return *std::move(result);
}
inline void take(Status status) {
    if (!status) throw std::runtime_error(status.error().line());
}
template <class T>
Code code_of(const Result<T>& result) { // of a failure; kInternal + a failed test otherwise
    EXPECT_FALSE(result.has_value());
    return result ? Code::kInternal : result.error().code;
}

bool is_on_postgres();
// What a case is about where it cannot run on PostgreSQL: a file, or SQLite's own SQL.
#define LK_SQLITE_ONLY(why) \
    if (is_on_postgres()) GTEST_SKIP() << "about SQLite alone: " << (why)

// Migrated and empty. `path` is for SQLite.
std::unique_ptr<plugin_host::Store> open_test_store(const std::string& path);

SecretBytes data_key(std::uint8_t fill = 7);
UserName user_name(std::string_view text);
keys::PublicKey new_public_key();
const keys::PrivateKey& ca_key();
const keys::PrivateKey& ledger_key();

// A certificate as the issuer would make it.
cert::Certificate make_certificate(const User& user, const Key& key, Micros now, Micros ttl,
                                   std::uint64_t serial);

struct Person {
    User user;
    Key key;
    Unlock unlock; // 12 h
};

class LedgerTest : public ::testing::Test {
protected:
    LedgerTest() : LedgerTest(":memory:") {}
    explicit LedgerTest(const std::string& path);

    void reopen(); // the ledger anew on the same store
    Person add_person(std::string_view name);
    CertificateRow issue(const Person& person, Micros ttl = from_seconds(3600));
    Result<CertificateRow> try_issue(const Person& person, Micros ttl = from_seconds(3600));
    // Of the live unlock.
    std::optional<CertificateRow> newest_of(const Person& person);
    // By hand, in the database itself, past the ledger.
    plugin_host::Rows by_hand(std::string_view sql, std::vector<plugin_host::Value> parameters = {});

    template <class Job>
    auto read(Job job) {
        return ledger_->read(job);
    }
    template <class Job>
    auto write(Job job) {
        return ledger_->write(job);
    }

    MovableClock clock_;
    std::unique_ptr<plugin_host::Store> store_;
    std::unique_ptr<Ledger> ledger_;
};

} // namespace latchkey::ledger
