// SPDX-License-Identifier: Apache-2.0
#pragma once
// The rooms' figures at one endpoint, where the configuration wants one. The rooms outlive it.

#include <memory>

#include "broker/daemon/config.h"
#include "broker/door/door.h"
#include "broker/hub/hub.h"
#include "broker/issue/issuer.h"
#include "broker/metrics/registry.h"
#include "broker/metrics/server.h"

namespace latchkey::daemon {

class Figures {
public:
    struct Rooms {
        const ledger::Ledger& ledger;
        const unlock::Factors& factors;
        const signer::SignerClient& signer;
        const issue::Issuer& issuer;
        const hub::Hub& hub;
        const door::Door& door;
    };
    // Empty where the configuration names no address. Fails as metrics::Server::start().
    static Result<std::unique_ptr<Figures>> start(const Config& config, const Rooms& rooms);

private:
    metrics::Registry registry_;
    std::unique_ptr<metrics::Server> server_; // last: ends first
};

} // namespace latchkey::daemon
