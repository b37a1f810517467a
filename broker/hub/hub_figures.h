// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the hub counts. Written on the hub's thread, read on any.

#include <map>
#include <vector>

#include "broker/hub/board.h"
#include "broker/hub/catch_up.h"
#include "broker/metrics/metric.h"

namespace latchkey::hub {

struct HubFigures {
    metrics::Gauge epoch;
    metrics::Gauge unwelcome;       // connections that are not an agent's yet
    metrics::Gauge fetches_waiting; // of all agents, beyond those being judged
    metrics::Gauge queued_bytes;    // to all agents
    struct {                        // what became of each connection up to its Welcome
        metrics::Counter welcome;
        metrics::Counter refused;
        metrics::Counter left;
        metrics::Counter no_room;
        metrics::Counter timed_out;
    } connections;
    metrics::Counter revocations;
    metrics::Counter receipts;
    metrics::Counter receipts_in_trouble;
    metrics::Histogram confirming;

    // Before the epoch moves from `before`.
    void told(const CatchUp& news, Epoch before);
    void confirmed(const std::vector<Board::Receipt>& confirmed, Micros now);

private:
    std::map<Epoch, Micros> made_at_; // of the latest revocations, for `confirming`
};

} // namespace latchkey::hub
