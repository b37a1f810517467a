// SPDX-License-Identifier: Apache-2.0
#include "agent/hub_link/broker_order.h"

#include <algorithm>
#include <utility>

#include "core/keys/openssl.h"
#include "core/wire/writer.h"

namespace latchkey::agent {
namespace {

using protocol::BrokerAddress;

// The same everywhere and for ever: an update of the agent moves no VM.
Bytes weight(VmId vm, const BrokerAddress& broker) {
    wire::Writer writer;
    writer.u64(vm.value);
    writer.string(broker.text());
    const auto digest = keys::sha256(writer.bytes());
    return Bytes(digest.begin(), digest.end());
}

} // namespace

BrokerOrder::BrokerOrder(VmId vm, Known known) : vm_(vm), known_(std::move(known)) {
    arrange();
    current_ = order_.front();
}

void BrokerOrder::arrange() {
    std::vector<BrokerAddress> all = known_.told;
    all.insert(all.end(), known_.configured.begin(), known_.configured.end());
    if (known_.told.empty()) all.push_back(known_.joined);
    std::vector<std::pair<Bytes, BrokerAddress>> weighed;
    weighed.reserve(all.size());
    for (BrokerAddress& broker : all) weighed.emplace_back(weight(vm_, broker), std::move(broker));
    std::sort(weighed.begin(), weighed.end());
    weighed.erase(std::unique(weighed.begin(), weighed.end()), weighed.end());
    order_.clear();
    for (auto& [unused, broker] : weighed) order_.push_back(std::move(broker));
    if (std::find(order_.begin(), order_.end(), known_.joined) == order_.end())
        order_.push_back(known_.joined);
}

bool BrokerOrder::learn(const std::vector<BrokerAddress>& told) {
    if (told == known_.told) return false;
    known_.told = told;
    arrange();
    return true;
}

void BrokerOrder::try_next() {
    auto found = std::find(order_.begin(), order_.end(), current_);
    if (found != order_.end()) ++found;
    current_ = found == order_.end() ? order_.front() : *found;
}

void BrokerOrder::try_first() {
    current_ = order_.front();
}

} // namespace latchkey::agent
