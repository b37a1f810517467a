// SPDX-License-Identifier: Apache-2.0
#pragma once
// Who uses a state folder: brokers share it, and what must not meet a running one has it alone. A lock on
// state_dir/running.lock, gone with the process, however it ends.

#include "broker/daemon/config.h"
#include "core/base/unique_handle.h"

namespace latchkey::daemon {

enum class Use : std::uint8_t { kBroker = 1, kAlone };

// Held as long as the handle. kConflict where the other use has it.
Result<UniqueFd> lock_state(const Config& config, Use use);

} // namespace latchkey::daemon
