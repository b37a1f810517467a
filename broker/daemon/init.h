// SPDX-License-Identifier: Apache-2.0
#pragma once
// `latchkeyd init`: configuration file, keys, database, and the first admin with key and factor. Run again
// after an interruption it goes on where it was. Refused, with nothing written, where the database is in use
// and where a part of the keys was lost (kConfig): a new key would not be the one that VMs and the database
// know. Needs a terminal only to confirm the first code; without one the code is not asked for.

#include <filesystem>
#include <string>

#include "broker/daemon/config.h"

namespace latchkey::daemon {

struct InitOptions {
    std::filesystem::path config_file;
    Config fresh; // what to write where there is no configuration file yet
    std::string admin = "admin";
    std::string admin_email;
    std::filesystem::path admin_key; // public key file
};

Status init(const InitOptions& options);

// `latchkeyd migrate`: the store of this configuration to our schema, by whatever role it names.
Status migrate(const Config& config);

} // namespace latchkey::daemon
