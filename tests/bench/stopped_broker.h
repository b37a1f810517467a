// SPDX-License-Identifier: Apache-2.0
#pragma once
// The ledger of a broker that is not running, opened as latchkeyd opens it, so that bench programs fill it by
// the ledger's own code. To be used by the broker's own user. One owner; everything it holds goes with it.

#include <memory>

#include "broker/daemon/config.h"
#include "broker/daemon/keys_on_disk.h"
#include "broker/ledger/ledger.h"
#include "broker/plugin_host/loader.h"

namespace latchkey::bench {

class StoppedBroker {
public:
    static Result<std::unique_ptr<StoppedBroker>> open(const char* config_file);

    const daemon::Config& config() const { return config_; }
    const daemon::BrokerKeys& keys() const { return keys_; }
    ledger::Ledger& ledger() { return *ledger_; }

private:
    StoppedBroker(daemon::Config config, daemon::BrokerKeys keys)
        : config_(std::move(config)), keys_(std::move(keys)), loader_(config_.broker.plugin_dir) {}

    daemon::Config config_;
    daemon::BrokerKeys keys_;
    SystemClock clock_;
    plugin_host::Loader loader_;
    std::unique_ptr<plugin_host::Store> store_;
    std::unique_ptr<ledger::Ledger> ledger_;
};

} // namespace latchkey::bench
