// SPDX-License-Identifier: Apache-2.0
#pragma once
// `latchkeyd serve`: starts the signer, becomes the broker's user, opens the ledger, then hub and door; ends
// on SIGTERM or SIGINT, in the opposite order. Runs on the main thread and blocks until then.

#include "broker/daemon/config.h"

namespace latchkey::daemon {

struct ServeOptions {
    int ready_fd = -1; // "ready\n" is written there, and it is closed
};

Status serve(const Config& config, const ServeOptions& options);

} // namespace latchkey::daemon
