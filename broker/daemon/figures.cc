// SPDX-License-Identifier: Apache-2.0
#include "broker/daemon/figures.h"

#include "broker/metrics/process.h"

namespace latchkey::daemon {

Result<std::unique_ptr<Figures>> Figures::start(const Config& config, const Rooms& rooms) {
    if (config.metrics.listen.empty()) return std::unique_ptr<Figures>();
    auto figures = std::make_unique<Figures>();
    metrics::Registry& registry = figures->registry_;
    metrics::add_process(registry);
    metrics::add_build(registry, LK_VERSION);
    rooms.ledger.describe(registry);
    rooms.factors.describe(registry);
    rooms.signer.describe(registry);
    rooms.issuer.describe(registry);
    rooms.hub.describe(registry);
    rooms.door.describe(registry);
    LK_TRY(server, metrics::Server::start([&registry] { return registry.render(); },
                                          {.listen = config.metrics.listen}));
    figures->server_ = std::move(server);
    return figures;
}

} // namespace latchkey::daemon
