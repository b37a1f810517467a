// SPDX-License-Identifier: Apache-2.0
// Three brokers over one database, killed and opened again in between, against a model that is simple enough
// to be believed: whatever is asked of whichever broker, it answers as the model says. Set by the
// environment: LATCHKEY_MODEL_STEPS, LATCHKEY_MODEL_SEED (printed by each run).

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <random>

#include "broker/issue/reference_model.h"
#include "broker/ledger/audit.h"
#include "broker/ledger/policy_rows.h"
#include "broker/ledger/revocations.h"
#include "broker/ledger/users.h"
#include "core/cert/statement.h"

namespace latchkey::issue {
namespace {

using ledger::take;
using ledger::Transaction;

// --- The random walk
// --------------------------------------------------------------------------------------------

constexpr std::size_t kUsers = 5;
constexpr std::size_t kGroups = 3;
constexpr Micros kRuleTtl = from_seconds(3600);
constexpr Micros kTooLittle = from_seconds(3); // of an unlock: a certificate may be refused or not

class Walk {
    template <class Job>
    auto read(Job job) {
        return broker().ledger->read(job);
    }
    template <class Job>
    auto write(Job job) {
        return broker().ledger->write(job);
    }

public:
    Walk(BrokersTest& brokers, std::uint64_t seed) : brokers_(brokers), chance_(seed) {
        people_the_database();
    }

    // One action by one broker. False once something did not hold.
    bool step() {
        broker_ = below(kBrokers);
        brokers_.clock().advance(Micros{static_cast<std::int64_t>(1000 + below(20'000'000))});
        (this->*kActions[weighted()].run)();
        EXPECT_EQ(take(read([](Transaction& t) { return ledger::current_epoch(t); })).value,
                  model_.revocations.size());
        return !::testing::Test::HasFailure();
    }
    void check_all() {
        for (broker_ = 0; broker_ < kBrokers; ++broker_) check_one_broker();
    }
    std::size_t certificates() const { return model_.certificates.size(); }
    std::size_t revocations() const { return model_.revocations.size(); }

private:
    struct Action {
        unsigned weight;
        void (Walk::*run)();
    };
    static const std::vector<Action> kActions;

    std::size_t weighted() {
        unsigned all = 0;
        for (const Action& action : kActions) all += action.weight;
        std::size_t left = below(all);
        for (std::size_t i = 0;; ++i) {
            if (left < kActions[i].weight) return i;
            left -= kActions[i].weight;
        }
    }
    std::size_t below(std::size_t limit) { return static_cast<std::size_t>(chance_() % limit); }
    Micros now() { return brokers_.clock().now(); }
    TestBroker& broker() { return brokers_.broker(broker_); }
    UserOf& any_user() { return model_.users[user_ = below(kUsers)]; }
    KeyOf& any_key(UserOf& user) { // of the newest, some of which are registered
        return user.keys[key_ = user.keys.size() - 1 - below(std::min<std::size_t>(user.keys.size(), 2))];
    }

    void people_the_database() {
        for (std::size_t i = 0; i < kGroups; ++i) {
            model_.groups.push_back(take(write([&](Transaction& t) {
                return ledger::add_group(t, take(GroupName::parse("group-" + std::to_string(i))), "admin");
            })));
        }
        for (std::size_t i = 0; i < kUsers; ++i) {
            UserOf user{.row = take(write([&](Transaction& t) {
                            const std::string name = "user-" + std::to_string(i);
                            return ledger::add_user(t, ledger::user_name(name), name + "@example.org",
                                                    ledger::Role::kUser, "admin");
                        }))};
            const auto factor = take(write([&](Transaction& t) {
                return ledger::add_factor(t, user.row.id, "totp", ledger::data_key(1), "admin");
            }));
            user.factor = factor.id;
            user.factor_version = factor.version;
            user.seen.fill(factor.version);
            model_.users.push_back(std::move(user));
            add_key_to(model_.users.back());
        }
        vm_ = brokers_.add_vm("web-1");
    }
    void add_key_to(UserOf& user) {
        const auto key = ledger::new_public_key();
        user.keys.push_back({.row = take(write([&](Transaction& t) {
                                 return ledger::add_key(t, user.row.id, key, "k", "admin");
                             }))});
    }

    // Of a certificate that a broker gave out: recorded, by a broker that need not be the one that made it,
    // in its place in the sequence, and the model lets this key in now.
    void take_certificate(const UserOf& user, const KeyOf& key, Serial serial, ByteView statement_bytes) {
        EXPECT_TRUE(model_.may_log_in(user, key, now())) << "issued to whom the model refuses";
        const auto row = take(brokers_.broker(below(kBrokers)).ledger->read([&](Transaction& t) {
            return ledger::find_certificate(t, serial);
        }));
        ASSERT_TRUE(row) << "a certificate outside the ledger";
        const auto statement =
            take(cert::Statement::open(statement_bytes, {ledger::ledger_key().public_key()}));
        EXPECT_EQ(statement.certificate_digest, row->digest);
        const Issued issued{.user = user_,
                            .key = key_,
                            .serial = serial,
                            .digest = row->digest,
                            .issued_at = row->issued_at,
                            .ends_at = row->ends_at};
        const auto [place, is_new] = model_.certificates.emplace(serial.value, issued);
        if (is_new) {
            EXPECT_EQ(row->sequence.value, ++model_.sequence) << "the sequence has a gap, or a second one";
            EXPECT_EQ(statement.epoch.value, model_.revocations.size());
        }
        EXPECT_FALSE(model_.is_revoked(place->second));
        EXPECT_GT(place->second.ends_at, now());
        EXPECT_LE(place->second.ends_at, key.unlock->ends_at);
    }
    bool is_unsure(const KeyOf& key) {
        return key.unlock && key.unlock->ends_at > now() && key.unlock->ends_at < now() + kTooLittle;
    }
    void judge(const UserOf& user, const KeyOf& key, const Result<ledger::CertificateRow>& row) {
        if (row) return take_certificate(user, key, row->serial, row->statement);
        EXPECT_TRUE(!model_.may_log_in(user, key, now()) || is_unsure(key)) << row.error().line();
    }

    // --- Actions

    void issue() {
        UserOf& user = any_user();
        KeyOf& key = any_key(user);
        if (key.unlock) judge(user, key, broker().issuer->issue(user.row, key.row, *key.unlock, "x"));
    }
    void current() {
        UserOf& user = any_user();
        KeyOf& key = any_key(user);
        if (key.unlock) judge(user, key, broker().issuer->current(user.row, key.row, *key.unlock, "x"));
    }
    protocol::Grant fetch(const KeyOf& key, const Issued* offered) {
        protocol::Fetch fetch;
        fetch.request = 1;
        fetch.login = take(Login::parse("deploy"));
        fetch.key = key.row.fingerprint;
        if (offered != nullptr) {
            fetch.serial = offered->serial;
            fetch.certificate_digest = offered->digest;
        }
        return take(broker().issuer->grant_for(vm_, fetch));
    }
    void fetch_by_key() {
        UserOf& user = any_user();
        KeyOf& key = any_key(user);
        const protocol::Grant grant = fetch(key, nullptr);
        if (grant.decision == protocol::GrantDecision::kAllow) {
            const auto certificate = take(cert::Certificate::from_blob(grant.certificate));
            return take_certificate(user, key, certificate.content().serial, grant.statement);
        }
        EXPECT_TRUE(!model_.may_log_in(user, key, now()) || is_unsure(key)) << grant.reason;
    }
    void fetch_by_certificate() {
        if (model_.certificates.empty()) return;
        auto place = model_.certificates.begin();
        const std::size_t recent = std::min<std::size_t>(model_.certificates.size(), 60);
        std::advance(place, below(model_.certificates.size()) % recent);
        const Issued& offered = place->second;
        const UserOf& user = model_.users[offered.user];
        const KeyOf& key = user.keys[offered.key];
        const bool may =
            model_.may_log_in(user, key, now()) && offered.ends_at > now() && !model_.is_revoked(offered);
        const protocol::Grant grant = fetch(key, &offered);
        EXPECT_EQ(grant.decision == protocol::GrantDecision::kAllow, may) << grant.reason;
    }
    void unlock_key() {
        UserOf& user = any_user();
        KeyOf& key = any_key(user);
        if (model_.is_open(key, now())) return;
        const Micros ends_at = now() + from_seconds(static_cast<std::int64_t>(10 + below(6 * 3600)));
        const auto unlock = write([&](Transaction& t) {
            return ledger::open_unlock(t, user.row.id, key.row.id, ends_at, t.now, "x");
        });
        EXPECT_EQ(unlock.has_value(), !user.is_locked && key.is_registered);
        if (!unlock) return;
        key.unlock = *unlock;
        key.has_ended = false;
    }
    void lock_keys() {
        UserOf& user = any_user();
        take(write([&](Transaction& t) { return ledger::end_unlocks(t, user.row.id, "x"); }));
        model_.end_unlocks(user);
    }
    void lock_account() {
        UserOf& user = any_user();
        take(write([&](Transaction& t) { return ledger::lock_user(t, user.row.name, "x", "admin"); }));
        user.is_locked = true;
        model_.end_unlocks(user);
    }
    void unlock_account() {
        UserOf& user = any_user();
        take(write([&](Transaction& t) { return ledger::unlock_user(t, user.row.name, "admin"); }));
        user.is_locked = false;
    }
    void revoke(revocation::SelectorKind kind, const std::string& text) {
        const revocation::Selector selector{kind, text};
        const auto row =
            take(write([&](Transaction& t) { return ledger::revoke(t, selector, "a test", "admin"); }));
        model_.revocations.push_back({selector, now()});
        EXPECT_EQ(row.revocation.epoch.value, model_.revocations.size()) << "an epoch out of order";
    }
    void revoke_user() {
        UserOf& user = any_user();
        revoke(revocation::SelectorKind::kUser, user.row.name.str());
        user.is_locked = true;
        model_.end_unlocks(user);
    }
    void revoke_key() {
        UserOf& user = any_user();
        KeyOf& key = any_key(user);
        revoke(revocation::SelectorKind::kKey, key.row.fingerprint.str());
        key.is_registered = false;
        key.has_ended = true;
    }
    void revoke_certificate() {
        if (model_.certificates.empty()) return;
        auto place = model_.certificates.begin();
        std::advance(place, below(model_.certificates.size()));
        revoke(revocation::SelectorKind::kCertificate, std::to_string(place->first));
    }
    void revoke_before() {
        const Micros until = now() - from_seconds(static_cast<std::int64_t>(below(1800)));
        revoke(revocation::SelectorKind::kBefore, std::to_string(until.value));
    }
    void join_or_leave() {
        UserOf& user = any_user();
        const std::size_t group = below(kGroups);
        const RowId id = model_.groups[group].id;
        if (user.groups.contains(group)) {
            if (below(3) != 0) return; // more is allowed than not: there is more to go wrong then
            user.groups.erase(group);
            take(write([&](Transaction& t) { return ledger::leave_group(t, id, user.row.id, "admin"); }));
        } else {
            take(write([&](Transaction& t) { return ledger::join_group(t, id, user.row.id, "admin"); }));
            user.groups.insert(group);
        }
    }
    void add_rule() {
        if (model_.rules.size() >= kGroups) return;
        const std::size_t group = below(kGroups);
        ledger::Rule rule;
        rule.group = model_.groups[group].id;
        rule.group_name = model_.groups[group].name;
        rule.vm_selector = "*";
        rule.logins = {take(Login::parse("deploy"))};
        rule.ttl_seconds = static_cast<std::uint32_t>(kRuleTtl.seconds());
        const auto made = take(write([&](Transaction& t) { return ledger::add_rule(t, rule, "admin"); }));
        model_.rules.push_back({made.id, group});
    }
    void remove_rule() {
        if (model_.rules.empty()) return;
        const auto place = model_.rules.begin() + static_cast<std::ptrdiff_t>(below(model_.rules.size()));
        take(write([&](Transaction& t) { return ledger::remove_rule(t, place->id, "admin"); }));
        model_.rules.erase(place);
    }
    void add_key() {
        UserOf& user = any_user();
        if (std::ranges::count_if(user.keys, &KeyOf::is_registered) < 3 && !user.is_locked) add_key_to(user);
    }
    // A code is judged from what a broker has read, and taken where nobody took one meanwhile.
    void look_at_factor() {
        UserOf& user = any_user();
        const auto factors = take(read([&](Transaction& t) { return ledger::factors_of(t, user.row.id); }));
        ASSERT_EQ(factors.size(), 1U);
        EXPECT_EQ(factors.front().version, user.factor_version);
        user.seen[broker_] = factors.front().version;
    }
    void spend_code() {
        UserOf& user = any_user();
        const Status spent = write([&](Transaction& t) {
            return ledger::replace_factor_state(t, user.factor, user.seen[broker_], ledger::data_key(2));
        });
        EXPECT_EQ(spent.has_value(), user.seen[broker_] == user.factor_version) << "a code was good twice";
        if (spent) ++user.factor_version;
    }
    void fail_over() { brokers_.restart(broker_); }
    void die_in_a_transaction() {
        brokers_.leave_half_done(broker_);
        brokers_.restart(broker_);
    }

    void check_one_broker() {
        EXPECT_TRUE(read([](Transaction& t) { return ledger::verify_audit(t); }));
        const auto made =
            take(read([](Transaction& t) { return ledger::list_revocations(t); })); // newest first
        ASSERT_EQ(made.size(), model_.revocations.size());
        for (std::size_t i = 0; i < made.size(); ++i) {
            const auto& row = made[made.size() - 1 - i].revocation;
            EXPECT_EQ(row.epoch.value, i + 1);
            EXPECT_EQ(row.selector, model_.revocations[i].selector) << "a revocation was lost";
        }
        EXPECT_EQ(brokers_.count("certificates"), model_.certificates.size());
        EXPECT_EQ(broker().ledger->tampered_rows(), 0U);
    }

    BrokersTest& brokers_;
    std::mt19937_64 chance_;
    Model model_;
    ledger::Vm vm_;
    std::size_t broker_ = 0; // who acts, and on whom
    std::size_t user_ = 0;
    std::size_t key_ = 0;
};

const std::vector<Walk::Action> Walk::kActions = {{20, &Walk::issue},
                                                  {10, &Walk::current},
                                                  {15, &Walk::fetch_by_key},
                                                  {10, &Walk::fetch_by_certificate},
                                                  {20, &Walk::unlock_key},
                                                  {2, &Walk::lock_keys},
                                                  {2, &Walk::lock_account},
                                                  {10, &Walk::unlock_account},
                                                  {1, &Walk::revoke_user},
                                                  {1, &Walk::revoke_key},
                                                  {3, &Walk::revoke_certificate},
                                                  {1, &Walk::revoke_before},
                                                  {8, &Walk::join_or_leave},
                                                  {4, &Walk::add_rule},
                                                  {1, &Walk::remove_rule},
                                                  {2, &Walk::add_key},
                                                  {5, &Walk::look_at_factor},
                                                  {5, &Walk::spend_code},
                                                  {1, &Walk::fail_over},
                                                  {1, &Walk::die_in_a_transaction}};

std::uint64_t setting(const char* name, std::uint64_t otherwise) {
    const char* text = ::getenv(name);
    return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

#if defined(__has_feature)
#define LK_HAS_FEATURE(x) __has_feature(x)
#else
#define LK_HAS_FEATURE(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || LK_HAS_FEATURE(address_sanitizer) || \
    LK_HAS_FEATURE(thread_sanitizer)
constexpr std::uint64_t kSteps = 1500; // each instruction is looked at
#else
constexpr std::uint64_t kSteps = 10'000;
#endif

using ThreeBrokers = BrokersTest;

TEST_F(ThreeBrokers, AnswerAsOneWhateverComesInBetween) {
    const std::uint64_t seed = setting("LATCHKEY_MODEL_SEED", std::random_device{}());
    const std::uint64_t steps = setting("LATCHKEY_MODEL_STEPS", ledger::is_on_postgres() ? 500 : kSteps);
    std::cout << "LATCHKEY_MODEL_SEED=" << seed << " LATCHKEY_MODEL_STEPS=" << steps << std::endl;
    Walk walk(*this, seed);
    for (std::uint64_t i = 0; i < steps; ++i) {
        SCOPED_TRACE("seed " + std::to_string(seed) + ", step " + std::to_string(i));
        ASSERT_TRUE(walk.step());
        if (i % 2500 == 2499) walk.check_all();
    }
    walk.check_all();
    std::cout << walk.certificates() << " certificates, " << walk.revocations() << " revocations"
              << std::endl;
    EXPECT_GT(walk.certificates(), steps / 200) << "too little was allowed to show anything";
    EXPECT_GT(walk.revocations(), steps / 200);
}

} // namespace
} // namespace latchkey::issue
