// SPDX-License-Identifier: Apache-2.0
#include "broker/plugin_host/loader.h"

#include <cstdio>

#include "broker/plugin_host/adapters.h"

namespace latchkey::plugin_host {
namespace {

Result<std::shared_ptr<Instance>> open(const std::filesystem::path& folder, std::string_view name,
                                       lk_kind kind, const Settings& settings, const LogSink& log) {
    LK_TRY(module, load_module(folder, name, kind));
    return Instance::open(std::move(module), settings, log);
}

} // namespace

void log_to_stderr(LogLevel level, std::string_view plugin, std::string_view line) {
    if (level < LogLevel::kWarn) return;
    const std::string text = "plugin " + std::string(plugin) + ": " + std::string(line) + "\n";
    std::fputs(text.c_str(), stderr);
}

Result<std::unique_ptr<Store>> Loader::store(std::string_view name, const Settings& settings) {
    LK_TRY(instance, open(folder_, name, LK_KIND_STORE, settings, log_));
    return adapt_store(std::move(instance));
}

Result<std::unique_ptr<Factor>> Loader::factor(std::string_view name, const Settings& settings) {
    LK_TRY(instance, open(folder_, name, LK_KIND_FACTOR, settings, log_));
    return adapt_factor(std::move(instance));
}

Result<std::unique_ptr<CaSigner>> Loader::ca_signer(std::string_view name, const Settings& settings) {
    LK_TRY(instance, open(folder_, name, LK_KIND_SIGNER, settings, log_));
    return adapt_signer(std::move(instance));
}

} // namespace latchkey::plugin_host
