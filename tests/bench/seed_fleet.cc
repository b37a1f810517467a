// SPDX-License-Identifier: Apache-2.0
// VMs that have joined, without 10,000 joins over TLS: seed_fleet CONFIG FOLDER COUNT HOSTS
// Each is joined by the ledger's own code with a key of its own, by one token, and gets an agent's state
// folder FOLDER/N as `latchkey-agent join` leaves it. HOSTS: over how many loopback addresses the agents
// spread, each of which the network may give a source address of its own (measure/network.py): agent N has
// 127.0.(1 + N % HOSTS).1 for its broker; 0: the address in CONFIG. To be run as the broker's own user, while
// the broker is stopped.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "agent/trust/state_folder.h"
#include "broker/ledger/vms.h"
#include "tests/bench/stopped_broker.h"

namespace latchkey::bench {
namespace {

using ledger::Transaction;

constexpr unsigned kVmsPerCommit = 250;
constexpr const char* kActor = "bench";

struct Plan {
    std::filesystem::path folder;
    unsigned count = 0;
    unsigned hosts = 0;
};

Result<protocol::BrokerAddress> broker_of(unsigned number, unsigned hosts, const std::string& configured) {
    LK_TRY(address, protocol::BrokerAddress::parse(configured));
    if (hosts != 0) address.host = "127.0." + std::to_string(1 + number % hosts) + ".1";
    return address;
}

Status add_vm(Transaction& t, StoppedBroker& broker, const ledger::FreshToken& token, const Plan& plan,
              unsigned number) {
    const agent::StateFolder state(plan.folder / std::to_string(number));
    LK_CHECK(state.make());
    LK_TRY(identity, state.load_or_make_identity());
    LK_TRY(name, VmName::parse("fleet-" + std::to_string(number)));
    LK_TRY(vm,
           ledger::join_vm(t, token.id, token.secret.view(), name, identity.public_key().raw_ed25519(), {}));
    LK_TRY(address, broker_of(number, plan.hosts, broker.config().hub.address));
    return state.begin_with({address, broker.keys().identity.public_key().fingerprint(), vm.id, vm.name});
}

Status run(char** words) {
    LK_TRY(broker, StoppedBroker::open(words[1]));
    const Plan plan{words[2], static_cast<unsigned>(std::atoi(words[3])),
                    static_cast<unsigned>(std::atoi(words[4]))};
    LK_TRY(token, broker->ledger().write([&](Transaction& t) {
        return ledger::add_join_token(t, plan.count, t.now + from_seconds(3600), "*", {}, kActor);
    }));
    for (unsigned begin = 0; begin < plan.count; begin += kVmsPerCommit) {
        const unsigned end = std::min(begin + kVmsPerCommit, plan.count);
        const Status added = broker->ledger().write([&](Transaction& t) -> Status {
            for (unsigned i = begin; i < end; ++i) LK_CHECK(add_vm(t, *broker, token, plan, i));
            return {};
        });
        LK_CHECK(added);
    }
    return {};
}

} // namespace
} // namespace latchkey::bench

int main(int argc, char** argv) {
    if (argc != 5) {
        std::fprintf(stderr, "usage: seed_fleet CONFIG FOLDER COUNT HOSTS\n");
        return 2;
    }
    const auto done = latchkey::bench::run(argv);
    if (done) return 0;
    std::fprintf(stderr, "seed_fleet: %s\n", done.error().line().c_str());
    return 1;
}
