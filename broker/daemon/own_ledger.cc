// SPDX-License-Identifier: Apache-2.0
#include "broker/daemon/own_ledger.h"

#include <spdlog/spdlog.h>

#include "broker/daemon/account.h"

namespace latchkey::daemon {

Result<BrokerKeys> settle(const Config& config) {
    LK_TRY(account, account_for(config.broker.user));
    LK_CHECK(become(account));
    spdlog::set_level(spdlog::level::off);
    return read_keys(config);
}

Status need_source(const Config& config) {
    const auto path = config.store.settings.find("path");
    if (config.store.plugin != "sqlite" || path == config.store.settings.end()) return {};
    if (std::filesystem::exists(path->second)) return {};
    return fail(Code::kConfig, "there is no database at " + path->second, "check store.path");
}

Result<std::unique_ptr<plugin_host::Store>> open_store(plugin_host::Loader& loader, const Config& config) {
    return loader.store(config.store.plugin, config.store.settings);
}

} // namespace latchkey::daemon
