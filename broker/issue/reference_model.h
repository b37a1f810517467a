// SPDX-License-Identifier: Apache-2.0
#pragma once
// What several brokers over one database must answer, as lists in memory: for model_test.cc. Deliberately
// slow and simple: it looks through everything each time.

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "broker/issue/brokers_for_tests.h"
#include "broker/ledger/model.h"

namespace latchkey::issue {

struct KeyOf {
    ledger::Key row;
    bool is_registered = true;
    std::optional<ledger::Unlock> unlock = {}; // the last one
    bool has_ended = false;                    // it was taken away
};
struct UserOf {
    ledger::User row;
    bool is_locked = false;
    std::vector<KeyOf> keys = {};
    std::set<std::size_t> groups = {};
    RowId factor = {};
    std::uint64_t factor_version = 0;
    std::array<std::uint64_t, kBrokers> seen = {}; // by each broker, of the factor
};
struct RuleOf {
    RowId id;
    std::size_t group = 0;
};
struct Issued {
    std::size_t user = 0;
    std::size_t key = 0;
    Serial serial;
    Bytes digest;
    Micros issued_at;
    Micros ends_at;
};
struct Taken {
    revocation::Selector selector;
    Micros made_at;
};

struct Model {
    std::vector<UserOf> users;
    std::vector<ledger::Group> groups;
    std::vector<RuleOf> rules;
    std::map<std::uint64_t, Issued> certificates; // by serial
    std::vector<Taken> revocations;               // the epoch is the place, from 1
    std::uint64_t sequence = 0;

    bool is_open(const KeyOf& key, Micros now) const {
        return key.unlock && !key.has_ended && key.unlock->ends_at > now;
    }
    bool has_rule(const UserOf& user) const {
        return std::ranges::any_of(rules,
                                   [&](const RuleOf& rule) { return user.groups.contains(rule.group); });
    }
    bool may_log_in(const UserOf& user, const KeyOf& key, Micros now) const {
        return !user.is_locked && key.is_registered && is_open(key, now) && has_rule(user);
    }
    bool is_revoked(const Issued& one) const {
        return std::ranges::any_of(revocations, [&](const Taken& taken) {
            const std::string& text = taken.selector.text;
            switch (taken.selector.kind) {
                case revocation::SelectorKind::kUser:
                    return text == users[one.user].row.name.str() && one.issued_at <= taken.made_at;
                case revocation::SelectorKind::kKey:
                    return text == users[one.user].keys[one.key].row.fingerprint.str() &&
                           one.issued_at <= taken.made_at;
                case revocation::SelectorKind::kCertificate:
                    return text == std::to_string(one.serial.value);
                default:
                    return one.issued_at.value < std::stoll(text);
            }
        });
    }
    void end_unlocks(UserOf& user) {
        for (KeyOf& key : user.keys) key.has_ended = true;
    }
};

} // namespace latchkey::issue
