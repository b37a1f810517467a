// SPDX-License-Identifier: Apache-2.0
#include "agent/config/agent_config.h"

#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

#include "core/posix/file.h"
#include "core/protocol/hub.h"

namespace latchkey::agent {
namespace {

constexpr std::size_t kMaxConfigSize = 1024 * 1024;

// One table of keys; each setter gets the node and says what is wrong with it.
class ConfigReader {
public:
    explicit ConfigReader(std::string shown_name) : shown_name_(std::move(shown_name)) {}

    Result<AgentConfig> read(const toml::table& table) {
        AgentConfig config;
        for (const auto& [key, node] : table) LK_CHECK(set(config, key.str(), node));
        return config;
    }

private:
    Failure wrong(std::string_view key, const toml::node& node, const std::string& what) {
        return fail(Code::kConfig, shown_name_ + " line " + std::to_string(node.source().begin.line) + ": " +
                                       std::string(key) + " " + what);
    }

    Result<std::string> text(std::string_view key, const toml::node& node) {
        const auto value = node.value_exact<std::string>();
        if (!value || value->empty()) return wrong(key, node, "wants a text in quotes");
        return *value;
    }

    Result<std::string> absolute_path(std::string_view key, const toml::node& node) {
        LK_TRY(value, text(key, node));
        if (value.front() != '/') return wrong(key, node, "wants an absolute path");
        return value;
    }

    Result<std::vector<Login>> logins(std::string_view key, const toml::node& node) {
        const toml::array* list = node.as_array();
        if (list == nullptr) return wrong(key, node, "wants a list of account names: [\"deploy\"]");
        std::vector<Login> out;
        for (const toml::node& entry : *list) {
            LK_TRY(name, text(key, entry));
            auto login = Login::parse(name);
            if (!login) return wrong(key, entry, "holds what is no account name");
            out.push_back(*std::move(login));
        }
        return out;
    }

    Result<std::vector<protocol::BrokerAddress>> addresses(std::string_view key, const toml::node& node) {
        const toml::array* list = node.as_array();
        if (list == nullptr) return wrong(key, node, "wants a list of addresses: [\"broker:7443\"]");
        if (list->size() > protocol::kMaxBrokers)
            return wrong(key, node, "wants " + std::to_string(protocol::kMaxBrokers) + " addresses at most");
        std::vector<protocol::BrokerAddress> out;
        for (const toml::node& entry : *list) {
            LK_TRY(written, text(key, entry));
            auto address = protocol::BrokerAddress::parse(written);
            if (!address) return wrong(key, entry, "holds what is no address: write host:port");
            out.push_back(*std::move(address));
        }
        return out;
    }

    Status set(AgentConfig& config, std::string_view key, const toml::node& node) {
        if (key == "state_dir") {
            LK_TRY(value, absolute_path(key, node));
            config.state_dir = value;
        } else if (key == "socket") {
            LK_TRY(value, absolute_path(key, node));
            config.socket = value;
        } else if (key == "helper_user") {
            LK_TRY(value, text(key, node));
            config.helper_user = value;
        } else if (key == "managed_logins") {
            LK_TRY(value, logins(key, node));
            config.managed_logins = std::move(value);
        } else if (key == "local_logins") {
            LK_TRY(value, logins(key, node));
            config.local_logins = std::move(value);
        } else if (key == "break_glass") {
            LK_TRY(value, logins(key, node));
            config.break_glass = std::move(value);
        } else if (key == "brokers") {
            LK_TRY(value, addresses(key, node));
            config.brokers = std::move(value);
        } else if (key == "logind") {
            LK_TRY(value, text(key, node));
            if (value != "auto" && value != "off") return wrong(key, node, "is \"auto\" or \"off\"");
            config.logind = value == "auto" ? LogindUse::kAuto : LogindUse::kOff;
        } else if (key == "dbus") {
            LK_TRY(value, text(key, node));
            if (value != "auto" && value != "off") return wrong(key, node, "is \"auto\" or \"off\"");
            config.dbus = value == "auto" ? BusUse::kAuto : BusUse::kOff;
        } else if (key == "log_level") {
            LK_TRY(value, text(key, node));
            auto level = parse_log_level(value);
            if (!level) return wrong(key, node, "is \"debug\", \"info\", \"warn\" or \"error\"");
            config.log_level = *level;
        } else if (key == "join_token_file") {
            LK_TRY(value, absolute_path(key, node));
            config.join_token_file = value;
        } else {
            return wrong(key, node, "is not a key of this file");
        }
        return {};
    }

    std::string shown_name_;
};

} // namespace

Result<AgentConfig> parse_config(std::string_view config_text, const std::string& shown_name) {
    const toml::parse_result parsed = toml::parse(config_text);
    if (!parsed) {
        return fail(Code::kConfig, shown_name + " line " +
                                       std::to_string(parsed.error().source().begin.line) + ": " +
                                       std::string(parsed.error().description()));
    }
    return ConfigReader(shown_name).read(parsed.table());
}

Result<AgentConfig> load_config(const std::filesystem::path& path, MissingFile missing) {
    auto content = posix::read_file(path, kMaxConfigSize);
    if (!content && content.error().code == Code::kNotFound && missing == MissingFile::kMeansDefaults)
        return AgentConfig{};
    if (!content) return fail(Code::kConfig, content.error().message, content.error().next);
    return parse_config(as_text(*content), path.string());
}

} // namespace latchkey::agent
