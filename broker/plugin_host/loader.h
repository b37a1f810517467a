// SPDX-License-Identifier: Apache-2.0
#pragma once
// Loads plugins of plugins/sdk's ABI: a configured name in a fixed folder, file and folder owned by root (or
// by the user that runs us) and not writable by others, checked before dlopen; RTLD_NOW | RTLD_LOCAL; never
// unloaded. A wrong major, or a newer minor than ours, is kUnsupported with both versions in the message;
// every exception of a plugin ends at the seam. Any thread; each call returns an owner of its own.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "broker/plugin_host/ca_signer.h"
#include "broker/plugin_host/factor.h"
#include "broker/plugin_host/store.h"
#include "core/base/result.h"

namespace latchkey::plugin_host {

using Settings = std::map<std::string, std::string>; // the plugin's own table of the configuration file

enum class LogLevel : std::uint8_t { kDebug = 1, kInfo, kWarn, kError };

// Where a plugin's log lines go; called from any thread, outlives what is loaded with it.
using LogSink = std::function<void(LogLevel level, std::string_view plugin, std::string_view line)>;
void log_to_stderr(LogLevel level, std::string_view plugin, std::string_view line); // kWarn and above

class Loader {
public:
    explicit Loader(std::filesystem::path folder, LogSink log = log_to_stderr)
        : folder_(std::move(folder)), log_(std::move(log)) {}

    Result<std::unique_ptr<Store>> store(std::string_view name, const Settings& settings);
    Result<std::unique_ptr<Factor>> factor(std::string_view name, const Settings& settings);
    Result<std::unique_ptr<CaSigner>> ca_signer(std::string_view name, const Settings& settings);

private:
    std::filesystem::path folder_;
    LogSink log_;
};

} // namespace latchkey::plugin_host
