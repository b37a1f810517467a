// SPDX-License-Identifier: Apache-2.0
#pragma once
// /etc/latchkey/agent.toml. A missing file means defaults; a key that we do not know, or a value of the wrong
// kind, is kConfig with the line and the key, so that a slip of the pen never opens or closes a gate
// silently.

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "agent/log/log.h"
#include "core/base/names.h"
#include "core/base/result.h"
#include "core/protocol/join_token.h"

namespace latchkey::agent {

inline constexpr std::string_view kDefaultConfigFile = "/etc/latchkey/agent.toml";

enum class LogindUse : std::uint8_t { kAuto = 1, kOff };
enum class BusUse : std::uint8_t { kAuto = 1, kOff }; // org.latchkey.Agent1 on the system bus

struct AgentConfig {
    std::filesystem::path state_dir = "/var/lib/latchkey-agent";
    std::string socket = "/run/latchkey-agent/agent.sock";
    std::string helper_user = "latchkey-akc";     // who runs the helper, besides root
    std::vector<Login> managed_logins;            // gated besides those that the broker names
    std::vector<Login> local_logins;              // never gated; wins over managed
    std::vector<Login> break_glass;               // local ones, of which each use is reported to the broker
    std::vector<protocol::BrokerAddress> brokers; // besides the join token's and those that brokers name
    LogindUse logind = LogindUse::kAuto;
    BusUse dbus = BusUse::kAuto;
    LogLevel log_level = LogLevel::kInfo;
    std::filesystem::path join_token_file = "/etc/latchkey/join-token"; // read by `first-boot`
};

enum class MissingFile : std::uint8_t { kMeansDefaults = 1, kIsAnError };
Result<AgentConfig> load_config(const std::filesystem::path& path, MissingFile missing);
Result<AgentConfig> parse_config(std::string_view text, const std::string& shown_name);

} // namespace latchkey::agent
