// SPDX-License-Identifier: Apache-2.0
// The hub's figures for broker/metrics.
#include <algorithm>

#include "broker/hub/state.h"

namespace latchkey::hub {
namespace {

constexpr std::size_t kMostRemembered = 256;

} // namespace

void HubFigures::told(const CatchUp& news, Epoch before) {
    for (const protocol::RevocationEntry& entry : news.entries) {
        if (entry.epoch <= before) continue;
        revocations.add();
        made_at_[entry.epoch] = entry.made_at;
    }
    epoch.set(static_cast<std::int64_t>(std::max(before, news.epoch).value));
    while (made_at_.size() > kMostRemembered) made_at_.erase(made_at_.begin());
}

// A receipt for something older is of an agent that was away: its time says nothing of ours.
void HubFigures::confirmed(const std::vector<Board::Receipt>& confirmed, Micros now) {
    for (const Board::Receipt& receipt : confirmed) {
        receipts.add();
        if (receipt.has_trouble) receipts_in_trouble.add();
        const auto made = made_at_.find(receipt.epoch);
        if (made == made_at_.end()) continue;
        const Micros took = std::max(Micros{0}, now - made->second);
        confirming.observe(std::chrono::microseconds(took.value));
    }
}

void Hub::State::look_at_queues() {
    std::int64_t fetches = 0;
    std::int64_t bytes = 0;
    for (const LinkPtr& link : links) {
        fetches += static_cast<std::int64_t>(link->waiting_fetches.size());
        bytes += static_cast<std::int64_t>(link->tls->queued_bytes());
    }
    figures.epoch.set(static_cast<std::int64_t>(pushed.value));
    figures.unwelcome.set(static_cast<std::int64_t>(links.size() - agents.size()));
    figures.fetches_waiting.set(fetches);
    figures.queued_bytes.set(bytes);
}

// Read on the scraper's thread: from the board, and what is safe on any.
void Hub::describe(metrics::Registry& registry) const {
    const State* const state = state_.get();
    const HubFigures& figures = state->figures;
    registry.add_gauge("latchkey_agents_connected", "Agents that are connected and welcome.",
                       [state] { return static_cast<double>(state->board.connected_count()); });
    const auto lag = [state](bool is_count) {
        const Epoch newest{static_cast<std::uint64_t>(state->figures.epoch.value())};
        double most = 0;
        double behind = 0;
        for (const auto& [vm, entry] : state->board.entries()) {
            if (!entry.is_connected || entry.confirmed >= newest) continue;
            most = std::max(most, static_cast<double>(newest.value - entry.confirmed.value));
            ++behind;
        }
        return is_count ? behind : most;
    };
    registry.add_gauge("latchkey_agents_behind", "Connected agents that have not confirmed the newest epoch.",
                       [lag] { return lag(true); });
    registry.add_gauge("latchkey_agents_epoch_lag_max",
                       "By how many revocations the connected agent that is furthest behind is behind.",
                       [lag] { return lag(false); });
    registry.add("latchkey_hub_epoch", "The newest epoch that this broker has told its agents.",
                 figures.epoch);
    registry.add("latchkey_hub_unwelcome_connections", "Connections that are not an agent's yet.",
                 figures.unwelcome);
    const std::string connections = "latchkey_hub_connections_total";
    const std::string of_connections = "Connections to the hub, by what became of them up to the Welcome.";
    const auto& became = figures.connections;
    registry.add(connections, of_connections, became.welcome, {{"outcome", "welcome"}});
    registry.add(connections, of_connections, became.refused, {{"outcome", "refused"}});
    registry.add(connections, of_connections, became.left, {{"outcome", "left"}});
    registry.add(connections, of_connections, became.no_room, {{"outcome", "no_room"}});
    registry.add(connections, of_connections, became.timed_out, {{"outcome", "timed_out"}});
    registry.add("latchkey_hub_waiting_fetches", "Questions of VMs that wait behind others of the same VM.",
                 figures.fetches_waiting);
    registry.add("latchkey_hub_queued_bytes", "Bytes that wait to be sent to agents.", figures.queued_bytes);
    registry.add("latchkey_revocations_total", "Revocations that this broker told its agents.",
                 figures.revocations);
    const std::string receipts = "latchkey_receipts_total";
    registry.add(receipts, "Receipts of VMs that were verified and recorded.", figures.receipts);
    registry.add("latchkey_receipts_in_trouble_total", "Of them those that say that something is not done.",
                 figures.receipts_in_trouble);
    registry.add("latchkey_receipt_duration_seconds",
                 "From a revocation to the recorded receipt of a VM that was connected.", figures.confirming);
}

} // namespace latchkey::hub
