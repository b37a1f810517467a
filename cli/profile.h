// SPDX-License-Identifier: Apache-2.0
#pragma once
// What `latchkey login` remembers: broker host and port, user, and the private key file whose certificate is
// kept. One small file of "name value" lines. Value type; fails with kNotFound where no login was made yet.

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"

namespace latchkey::cli {

struct Profile {
    std::string host;
    std::string port = "2222";
    std::string user;
    std::filesystem::path identity; // private key; the certificate is identity + "-cert.pub"

    std::filesystem::path certificate_file() const { return identity.string() + "-cert.pub"; }
};

// "[user@]host[:port]" over what is there; kUsage where no host is named.
Result<Profile> parse_target(std::string_view target, Profile defaults);

std::filesystem::path profile_file(); // $XDG_CONFIG_HOME or ~/.config, latchkey/profile
Result<Profile> read_profile(const std::filesystem::path& file);
Status write_profile(const std::filesystem::path& file, const Profile& profile);

// The first of ~/.ssh/id_ed25519, id_ecdsa, id_rsa, id_ed25519_sk, id_ecdsa_sk that has a .pub beside it.
Result<std::filesystem::path> default_identity();

} // namespace latchkey::cli
