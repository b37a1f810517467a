// SPDX-License-Identifier: Apache-2.0
#pragma once
// Loads plugins of plugins/sdk's ABI: a configured name in a fixed folder, file and folder owned by root (or
// by the user that runs us) and not writable by others, checked before dlopen; RTLD_NOW | RTLD_LOCAL; never
// unloaded. A wrong major, or a newer minor than ours, is kUnsupported with both versions in the message;
// every exception of a plugin ends at the seam. Any thread; each call returns an owner of its own.

#include <filesystem>
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

class Loader {
public:
    explicit Loader(std::filesystem::path folder) : folder_(std::move(folder)) {}

    Result<std::unique_ptr<Store>> store(std::string_view name, const Settings& settings);
    Result<std::unique_ptr<Factor>> factor(std::string_view name, const Settings& settings);
    Result<std::unique_ptr<CaSigner>> ca_signer(std::string_view name, const Settings& settings);

private:
    std::filesystem::path folder_;
};

} // namespace latchkey::plugin_host
