// SPDX-License-Identifier: Apache-2.0
// The hub's figures for broker/metrics. Read on the scraper's thread: from the board alone.
#include "broker/hub/state.h"

namespace latchkey::hub {

void Hub::describe(metrics::Registry& registry) const {
    const State* const state = state_.get();
    registry.add_gauge("latchkey_agents_connected", "Agents that are connected and welcome.",
                       [state] { return static_cast<double>(state->board.connected_count()); });
}

} // namespace latchkey::hub
