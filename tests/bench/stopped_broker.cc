// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/stopped_broker.h"

namespace latchkey::bench {

Result<std::unique_ptr<StoppedBroker>> StoppedBroker::open(const char* config_file) {
    LK_TRY(config, daemon::read_config(config_file));
    LK_TRY(broker_keys, daemon::read_keys(config));
    std::unique_ptr<StoppedBroker> broker(new StoppedBroker(std::move(config), std::move(broker_keys)));
    LK_TRY(store, broker->loader_.store(broker->config_.store.plugin, broker->config_.store.settings));
    broker->store_ = std::move(store);
    LK_TRY(ledger, ledger::Ledger::open(*broker->store_, {.data_key = broker->keys_.data_key.clone(),
                                                          .clock = &broker->clock_}));
    broker->ledger_ = std::move(ledger);
    return broker;
}

} // namespace latchkey::bench
