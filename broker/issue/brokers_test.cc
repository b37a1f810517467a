// SPDX-License-Identifier: Apache-2.0
// Three brokers over one database at the same time, one of them killed and started now and then: what must
// hold afterwards, however their transactions came to lie. model_test.cc looks at each answer, one at a time.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <mutex>
#include <random>
#include <set>
#include <shared_mutex>
#include <thread>

#include "broker/issue/brokers_for_tests.h"
#include "broker/ledger/audit.h"
#include "broker/ledger/certificates.h"
#include "broker/ledger/policy_rows.h"
#include "broker/ledger/revocations.h"
#include "broker/ledger/users.h"

namespace latchkey::issue {
namespace {

using ledger::take;
using ledger::Transaction;

constexpr std::size_t kPeople = 6;
constexpr std::size_t kThreadsEach = 2; // of each broker: they share commits
constexpr int kTurns = 60;              // of each thread

class Together : public BrokersTest {
protected:
    Together() {
        auto& writer = *broker(0).ledger;
        const auto group = take(writer.write(
            [](Transaction& t) { return ledger::add_group(t, take(GroupName::parse("dev")), "admin"); }));
        ledger::Rule rule;
        rule.group = group.id;
        rule.group_name = group.name;
        rule.vm_selector = "*";
        rule.logins = {take(Login::parse("deploy"))};
        take(writer.write([&](Transaction& t) { return ledger::add_rule(t, rule, "admin"); }));
        for (std::size_t i = 0; i < kPeople; ++i) {
            const std::string name = "user-" + std::to_string(i);
            const auto key = ledger::new_public_key();
            people_.push_back(take(writer.write([&](Transaction& t) -> Result<ledger::Person> {
                ledger::Person person;
                LK_TRY(user, ledger::add_user(t, ledger::user_name(name), name + "@example.org",
                                              ledger::Role::kUser, "admin"));
                LK_CHECK(ledger::join_group(t, group.id, user.id, "admin"));
                LK_TRY(added, ledger::add_key(t, user.id, key, "laptop", "admin"));
                LK_TRY(unlock,
                       ledger::open_unlock(t, user.id, added.id, t.now + from_seconds(36000), t.now, "x"));
                return ledger::Person{user, added, unlock};
            })));
        }
        factor_ = take(writer.write([&](Transaction& t) {
                      return ledger::add_factor(t, people_[0].user.id, "totp", ledger::data_key(1), "admin");
                  })).id;
    }

    // Killed and started while its other threads wait, and the other brokers do not.
    void kill(std::size_t which) {
        const std::lock_guard alone(in_use_[which]);
        restart(which);
    }
    template <class Job>
    auto at(std::size_t which, Job job) {
        const std::shared_lock in_use(in_use_[which]);
        return job(broker(which));
    }

    void issue(std::size_t which, const ledger::Person& person) {
        const auto row = at(which, [&](TestBroker& b) {
            return b.issuer->issue(person.user, person.key, person.unlock, "x");
        });
        if (!row) return;
        const std::lock_guard lock(mutex_);
        given_out_.insert(row->serial.value);
    }
    void revoke(std::size_t which, const ledger::Person& person) {
        const revocation::Selector selector{revocation::SelectorKind::kUser, person.user.name.str()};
        const auto row = at(which, [&](TestBroker& b) {
            return b.ledger->write([&](Transaction& t) { return ledger::revoke(t, selector, "x", "admin"); });
        });
        if (!row) return;
        const std::lock_guard lock(mutex_);
        EXPECT_TRUE(revoked_.emplace(row->revocation.epoch.value, selector.text).second) << "an epoch twice";
    }
    void spend(std::size_t which) {
        const auto factors = at(which, [&](TestBroker& b) {
            return b.ledger->read([&](Transaction& t) { return ledger::factors_of(t, people_[0].user.id); });
        });
        if (!factors || factors->empty()) return;
        const std::uint64_t version = factors->front().version;
        const Status spent = at(which, [&](TestBroker& b) {
            return b.ledger->write([&](Transaction& t) {
                return ledger::replace_factor_state(t, factor_, version, ledger::data_key(2));
            });
        });
        if (!spent) return;
        const std::lock_guard lock(mutex_);
        EXPECT_TRUE(spent_.insert(version).second) << "a code was good twice";
    }
    void work(std::size_t which, std::uint64_t seed, bool kills) {
        std::mt19937_64 chance(seed);
        for (int turn = 0; turn < kTurns; ++turn) {
            const std::uint64_t what = chance() % 20;
            // The first one is never revoked, so that there is something to issue to the end.
            if (what < 12) issue(which, people_[chance() % kPeople]);
            if (what == 12 && turn > kTurns / 4) revoke(which, people_[1 + chance() % (kPeople - 1)]);
            if (what > 12 && what < 19) spend(which);
            if (what == 19 && kills) kill(which);
        }
    }

    std::vector<ledger::Person> people_;
    RowId factor_;
    std::array<std::shared_mutex, kBrokers> in_use_;
    std::mutex mutex_; // all below
    std::set<std::uint64_t> given_out_;
    std::map<std::uint64_t, std::string> revoked_; // by epoch
    std::set<std::uint64_t> spent_;
};

TEST_F(Together, IssueAndRevokeInOneOrder) {
    const std::uint64_t seed = std::random_device{}();
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < kBrokers * kThreadsEach; ++i) {
        threads.emplace_back([this, i, seed] { work(i % kBrokers, seed + i, i == 2); });
    }
    for (std::thread& thread : threads) thread.join();

    auto& ledger = *broker(1).ledger;
    EXPECT_FALSE(given_out_.empty());
    EXPECT_FALSE(spent_.empty());
    EXPECT_TRUE(ledger.read([](Transaction& t) { return ledger::verify_audit(t); }));
    EXPECT_EQ(ledger.tampered_rows(), 0U);

    // No revocation is lost, and their epochs have no gap.
    const auto made = take(ledger.read([](Transaction& t) { return ledger::list_revocations(t); }));
    EXPECT_EQ(made.size(), revoked_.size());
    std::map<std::string, std::uint64_t> first_epoch; // of each user
    for (std::size_t i = made.size(); i-- > 0;) {
        const revocation::Revocation& one = made[i].revocation;
        EXPECT_EQ(one.epoch.value, made.size() - i);
        EXPECT_EQ(revoked_[one.epoch.value], one.selector.text);
        first_epoch.emplace(one.selector.text, one.epoch.value);
    }

    // Nothing is outside the ledger, and nobody was given a certificate behind their revocation.
    std::set<std::uint64_t> recorded;
    std::set<std::uint64_t> sequences;
    for (const ledger::Person& person : people_) {
        const auto rows =
            take(ledger.read([&](Transaction& t) -> Result<std::vector<ledger::CertificateRow>> {
                std::vector<ledger::CertificateRow> live;
                LK_TRY(serials, ledger::live_serials_of(t, person.user.name, t.now));
                for (const Serial serial : serials) {
                    LK_TRY(row, ledger::find_certificate(t, serial));
                    if (row) live.push_back(std::move(*row));
                }
                return live;
            }));
        const auto revoked = first_epoch.find(person.user.name.str());
        for (const ledger::CertificateRow& row : rows) {
            recorded.insert(row.serial.value);
            sequences.insert(row.sequence.value);
            if (revoked == first_epoch.end()) continue;
            EXPECT_LT(row.epoch.value, revoked->second);
        }
    }
    EXPECT_EQ(recorded, given_out_);
    EXPECT_EQ(sequences.size(), recorded.size());
    EXPECT_EQ(*sequences.rbegin(), sequences.size());
}

} // namespace
} // namespace latchkey::issue
