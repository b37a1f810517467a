// SPDX-License-Identifier: Apache-2.0
#pragma once
// How a command on the broker's own machine comes to the ledger without serving: as the broker's user, with
// its keys, into the store that the configuration names.

#include <memory>

#include "broker/daemon/config.h"
#include "broker/daemon/keys_on_disk.h"
#include "broker/plugin_host/loader.h"

namespace latchkey::daemon {

// From here on we are the broker's user. What the ledger would log is told by the commands themselves.
// kConfig where the keys are not there; kIo for another user than root and the broker's.
Result<BrokerKeys> settle(const Config& config);

// A database that is not there must not be made by looking at it: kConfig.
Status need_source(const Config& config);

Result<std::unique_ptr<plugin_host::Store>> open_store(plugin_host::Loader& loader, const Config& config);

} // namespace latchkey::daemon
