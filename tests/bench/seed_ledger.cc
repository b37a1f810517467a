// SPDX-License-Identifier: Apache-2.0
// Fills the ledger of a stopped broker with users who may log in at once: seed_ledger CONFIG LOGIN <lines
// stdin: public keys, one a line. Each becomes a user bench-N with that key and a live unlock, in a group
// whose rule names LOGIN on every VM. Prints one fingerprint a line. To be run as the broker's own user.

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

#include "broker/ledger/factors.h"
#include "broker/ledger/policy_rows.h"
#include "broker/ledger/users.h"
#include "tests/bench/stopped_broker.h"

namespace latchkey::bench {
namespace {

using ledger::Transaction;

constexpr std::size_t kUsersPerCommit = 250;
constexpr const char* kActor = "bench";

Result<RowId> group_with_rule(Transaction& t, const Login& login) {
    LK_TRY(name, GroupName::parse("bench"));
    LK_TRY(found, ledger::find_group(t, name));
    if (found) return found->id;
    LK_TRY(group, ledger::add_group(t, name, kActor));
    ledger::Rule rule;
    rule.group = group.id;
    rule.group_name = name;
    rule.vm_selector = "*";
    rule.logins = {login};
    rule.allow = {"pty", "port-forwarding"};
    LK_TRY(added, ledger::add_rule(t, rule, kActor));
    return group.id;
}

Status add_person(Transaction& t, RowId group, std::size_t number, const keys::PublicKey& key) {
    LK_TRY(name, UserName::parse("bench-" + std::to_string(number)));
    LK_TRY(user, ledger::add_user(t, name, name.str() + "@example.org", ledger::Role::kUser, kActor));
    LK_TRY(row, ledger::add_key(t, user.id, key, "", kActor));
    LK_CHECK(ledger::join_group(t, group, user.id, kActor));
    const auto unlock =
        ledger::open_unlock(t, user.id, row.id, t.now + from_seconds(4 * 3600), t.now, kActor);
    return unlock ? Status() : fail(unlock.error());
}

Result<std::vector<keys::PublicKey>> read_keys_of_people() {
    std::vector<keys::PublicKey> people;
    std::string line;
    while (std::getline(std::cin, line)) {
        LK_TRY(key, keys::PublicKey::from_line(line));
        people.push_back(std::move(key));
    }
    return people;
}

Status run(const char* config_file, const char* login_text) {
    LK_TRY(broker, StoppedBroker::open(config_file));
    LK_TRY(login, Login::parse(login_text));
    LK_TRY(people, read_keys_of_people());
    ledger::Ledger& ledger = broker->ledger();
    LK_TRY(group, ledger.write([&](Transaction& t) { return group_with_rule(t, login); }));
    for (std::size_t begin = 0; begin < people.size(); begin += kUsersPerCommit) {
        const std::size_t end = std::min(begin + kUsersPerCommit, people.size());
        const Status added = ledger.write([&](Transaction& t) -> Status {
            for (std::size_t i = begin; i < end; ++i) LK_CHECK(add_person(t, group, i, people[i]));
            return {};
        });
        LK_CHECK(added);
    }
    for (const keys::PublicKey& key : people) std::printf("%s\n", key.fingerprint().str().c_str());
    return {};
}

} // namespace
} // namespace latchkey::bench

int main(int argc, char** argv) {
    if (argc != 3) {
        std::fprintf(stderr, "usage: seed_ledger CONFIG LOGIN <public-key-lines\n");
        return 2;
    }
    const auto done = latchkey::bench::run(argv[1], argv[2]);
    if (done) return 0;
    std::fprintf(stderr, "seed_ledger: %s\n", done.error().line().c_str());
    return 1;
}
