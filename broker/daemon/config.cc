// SPDX-License-Identifier: Apache-2.0
#include "broker/daemon/config.h"

#define TOML_EXCEPTIONS 0
#include <arpa/inet.h>
#include <unistd.h>

#include <toml++/toml.h>
#include <set>

#include "core/posix/file.h"
#include "core/protocol/hub.h"

namespace latchkey::daemon {
namespace {

constexpr std::size_t kConfigLimit = 256 * 1024;

// 127.0.0.0/8 or ::1, with a port behind it.
bool is_loopback(const std::string& listen) {
    const std::string host = listen.substr(0, listen.rfind(':'));
    in_addr v4{};
    return host == "[::1]" || (::inet_pton(AF_INET, host.c_str(), &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127);
}

// Reads one table; remembers the first fault, with the line where it stands, and which keys were asked for.
class Section {
public:
    Section(const toml::table* table, std::string name, const std::filesystem::path& file, Status& status)
        : table_(table), name_(std::move(name)), file_(file), status_(status) {}

    void text(std::string_view key, std::string& into) {
        if (const toml::node* node = find(key)) {
            if (const auto value = node->value_exact<std::string>()) {
                into = *value;
            } else {
                fault(*node, key, "wants a text in quotes");
            }
        }
    }
    void path(std::string_view key, std::filesystem::path& into) {
        std::string value = into.string();
        text(key, value);
        into = value;
        if (status_ && !into.empty() && !into.is_absolute()) fault(*find(key), key, "wants an absolute path");
    }
    void number(std::string_view key, std::uint32_t& into, std::int64_t least, std::int64_t most) {
        if (const toml::node* node = find(key)) {
            const auto value = node->value_exact<std::int64_t>();
            if (value && *value >= least && *value <= most) {
                into = static_cast<std::uint32_t>(*value);
            } else {
                fault(*node, key,
                      "wants a number from " + std::to_string(least) + " to " + std::to_string(most));
            }
        }
    }
    void flag(std::string_view key, bool& into) {
        if (const toml::node* node = find(key)) {
            const auto value = node->value_exact<bool>();
            value ? void(into = *value) : fault(*node, key, "wants true or false");
        }
    }
    // An address that others than this machine reach is taken only where it is said to be meant.
    void loopback(std::string_view key, const std::string& value, bool allow_remote,
                  const std::string& otherwise) {
        const toml::node* node = find(key);
        if (node != nullptr && !value.empty() && !allow_remote && !is_loopback(value)) {
            fault(*node, key, "wants a loopback address: " + otherwise);
        }
    }
    void texts(std::string_view key, std::vector<std::string>& into) {
        const toml::node* node = find(key);
        if (node == nullptr) return;
        const toml::array* list = node->as_array();
        if (list == nullptr || list->empty()) return fault(*node, key, "wants a list of texts");
        into.clear();
        for (const toml::node& entry : *list) {
            const auto value = entry.value_exact<std::string>();
            if (!value) return fault(entry, key, "wants a list of texts");
            into.push_back(*value);
        }
    }
    void addresses(std::string_view key, std::vector<protocol::BrokerAddress>& into) {
        std::vector<std::string> written;
        texts(key, written);
        if (written.size() > protocol::kMaxBrokers)
            return fault(*find(key), key, "wants " + std::to_string(protocol::kMaxBrokers) + " at most");
        for (const std::string& text : written) {
            auto address = protocol::BrokerAddress::parse(text);
            if (!address) return fault(*find(key), key, "holds what is no host:port");
            into.push_back(*std::move(address));
        }
    }
    // All keys not yet asked for go to the plugin as they stand.
    void rest(PluginSettings& into) {
        if (table_ == nullptr) return;
        for (const auto& [key, node] : *table_) {
            if (asked_.contains(key.str())) continue;
            asked_.emplace(key.str());
            if (const auto word = node.value_exact<std::string>()) {
                into[std::string(key.str())] = *word;
            } else if (const auto count = node.value_exact<std::int64_t>()) {
                into[std::string(key.str())] = std::to_string(*count);
            } else if (const auto flag = node.value_exact<bool>()) {
                into[std::string(key.str())] = *flag ? "true" : "false";
            } else {
                fault(node, key.str(), "wants a text, a number or true/false");
            }
        }
    }
    void refuse_unknown() {
        if (table_ == nullptr) return;
        for (const auto& [key, node] : *table_) {
            if (!asked_.contains(key.str())) fault(node, key.str(), "is not a key that we know");
        }
    }

private:
    const toml::node* find(std::string_view key) {
        asked_.emplace(key);
        return table_ == nullptr ? nullptr : table_->get(key);
    }
    void fault(const toml::node& node, std::string_view key, const std::string& what) {
        if (!status_) return;
        status_ = fail(Code::kConfig,
                       file_.string() + " line " + std::to_string(node.source().begin.line) + ": " +
                           (name_.empty() ? "" : name_ + ".") + std::string(key) + " " + what,
                       "mend that line and run: latchkeyd check --config " + file_.string());
    }

    const toml::table* table_;
    std::string name_;
    const std::filesystem::path& file_;
    Status& status_;
    std::set<std::string, std::less<>> asked_;
};

std::filesystem::path program_folder() {
    std::error_code ignored;
    return std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path();
}

// Installed: /usr/libexec/latchkey and /usr/lib/<triplet>/latchkey/plugins. From a build tree: bin/ and
// plugins/.
void fill_defaults(Config& config) {
    const std::filesystem::path beside = program_folder();
    if (config.broker.plugin_dir.empty()) {
        const std::filesystem::path built = beside.parent_path() / "plugins";
        config.broker.plugin_dir =
            std::filesystem::exists(built) ? built : std::filesystem::path(LK_INSTALLED_PLUGIN_DIR);
    }
    if (config.signer.program.empty()) {
        const std::filesystem::path built = beside / "latchkey-signer";
        config.signer.program = std::filesystem::exists(built)
                                    ? built
                                    : std::filesystem::path("/usr/libexec/latchkey/latchkey-signer");
    }
    if (config.broker.data_key.empty()) {
        const char* credentials = ::getenv("CREDENTIALS_DIRECTORY");
        const std::filesystem::path credential =
            std::filesystem::path(credentials == nullptr ? "" : credentials) / "latchkey.data-key";
        config.broker.data_key = credentials != nullptr && std::filesystem::exists(credential)
                                     ? credential
                                     : config.broker.state_dir / "data.key";
    }
    if (config.store.plugin == "sqlite") {
        config.store.settings.try_emplace("path", (config.broker.state_dir / "ledger.db").string());
    }
    if (config.signer.plugin == "file-signer") {
        const auto folder =
            config.broker.state_dir.parent_path() / (config.broker.state_dir.filename().string() + "-signer");
        config.signer.settings.try_emplace("key", (folder / "ca_ed25519").string());
    }
    if (config.hub.address.empty()) config.hub.address = config.hub.listen;
}

} // namespace

Result<Config> parse_config(std::string_view text, const std::filesystem::path& file) {
    const toml::parse_result parsed = toml::parse(text);
    if (!parsed) {
        return fail(Code::kConfig,
                    file.string() + " line " + std::to_string(parsed.error().source().begin.line) + ": " +
                        std::string(parsed.error().description()),
                    "mend that line and run: latchkeyd check --config " + file.string());
    }
    Config config;
    config.file = file;
    Status status;
    const toml::table& root = parsed.table();
    std::set<std::string, std::less<>> sections;
    const auto section = [&](std::string name) {
        sections.insert(name);
        return Section(root.get_as<toml::table>(name), name, file, status);
    };

    Section broker = section("broker");
    broker.path("state_dir", config.broker.state_dir);
    broker.path("plugin_dir", config.broker.plugin_dir);
    broker.path("data_key", config.broker.data_key);
    broker.text("user", config.broker.user);
    broker.text("name", config.broker.name);
    broker.text("log_level", config.broker.log_level);
    broker.refuse_unknown();

    Section door = section("door");
    door.texts("listen", config.door.listen);
    door.text("address", config.door.address);
    door.number("login_grace_seconds", config.door.login_grace_seconds, 1, 600);
    door.number("max_logins", config.door.max_logins, 1, 4096);
    door.number("max_unauthenticated", config.door.max_unauthenticated, 1, 4096);
    door.number("max_unauthenticated_per_address", config.door.max_unauthenticated_per_address, 1, 4096);
    door.refuse_unknown();

    Section hub = section("hub");
    hub.text("listen", config.hub.listen);
    hub.text("address", config.hub.address);
    hub.addresses("brokers", config.hub.brokers);
    hub.number("heartbeat_seconds", config.hub.heartbeat_seconds, 1, 60);
    hub.number("max_agents", config.hub.max_agents, 1, 1'000'000);
    hub.number("max_unauthenticated", config.hub.max_unauthenticated, 1, 65536);
    hub.number("handshakes_per_second", config.hub.handshakes_per_second, 1, 100'000);
    hub.refuse_unknown();

    Section metrics = section("metrics");
    metrics.text("listen", config.metrics.listen);
    metrics.flag("allow_remote", config.metrics.allow_remote);
    metrics.loopback("listen", config.metrics.listen, config.metrics.allow_remote,
                     "nobody is asked who reads the figures; allow_remote = true where a firewall guards it");
    metrics.refuse_unknown();

    Section store = section("store");
    store.text("plugin", config.store.plugin);
    store.rest(config.store.settings);

    Section signer = section("signer");
    signer.text("plugin", config.signer.plugin);
    signer.text("user", config.signer.user);
    signer.path("program", config.signer.program);
    signer.path("socket", config.signer.socket);
    signer.rest(config.signer.settings);

    Section limits = section("limits");
    limits.number("unlock_seconds", config.limits.unlock_seconds, 10, 7 * 86400);
    limits.number("certificate_seconds", config.limits.certificate_seconds, 10, 86400);
    limits.number("admin_fresh_seconds", config.limits.admin_fresh_seconds, 10, 86400);
    limits.number("min_rsa_bits", config.limits.min_rsa_bits, 2048, 16384);
    limits.number("invite_seconds", config.limits.invite_seconds, 1, 30 * 86400);
    limits.refuse_unknown();

    sections.insert("factors");
    if (const toml::table* factors = root.get_as<toml::table>("factors")) {
        config.factors.clear();
        for (const auto& [name, node] : *factors) {
            const std::string kind(name.str());
            Section(node.as_table(), "factors." + kind, file, status).rest(config.factors[kind]);
        }
    }
    for (const auto& [name, node] : root) {
        if (!sections.contains(name.str()) || !node.is_table()) {
            if (status) {
                status = fail(Code::kConfig,
                              file.string() + " line " + std::to_string(node.source().begin.line) + ": " +
                                  std::string(name.str()) + " is not a section that we know",
                              "the sections are broker, door, hub, metrics, store, signer, factors, limits");
            }
        }
    }
    LK_CHECK(status);
    fill_defaults(config);
    return config;
}

Result<Config> read_config(const std::filesystem::path& file) {
    auto content = posix::read_file(file, kConfigLimit);
    if (!content && content.error().code == Code::kNotFound) {
        return fail(Code::kConfig, "no configuration at " + file.string(),
                    "run: latchkeyd init --config " + file.string());
    }
    if (!content) return fail(Code::kConfig, content.error().message, content.error().next);
    return parse_config(as_text(*content), file);
}

std::string config_text(const Config& config) {
    const auto quoted = [](const std::string& text) {
        std::string out = "\"";
        for (const char c : text) {
            if (c == '"' || c == '\\') out += '\\';
            out += c;
        }
        return out + "\"";
    };
    std::string listen;
    for (const std::string& address : config.door.listen) {
        listen += (listen.empty() ? "" : ", ") + quoted(address);
    }
    const std::string file = config.file.string();
    const std::filesystem::path& plugins = config.broker.plugin_dir;
    std::string text;
    text += "# Latchkey broker. After a change: latchkeyd check --config " + file + "\n";
    text += "\n[broker]\nstate_dir = " + quoted(config.broker.state_dir.string());
    if (!plugins.empty()) text += "\nplugin_dir = " + quoted(plugins.string());
    text += "\nuser = " + quoted(config.broker.user) + " # whom root becomes";
    text += "\nname = " + quoted(config.broker.name) + " # in authenticator apps\n";
    text += "\n[door] # people, by ssh\nlisten = [" + listen + "]";
    text += "\naddress = " + quoted(config.door.address) + " # what people type\n";
    text += "\n[hub] # agents, by TLS\nlisten = " + quoted(config.hub.listen);
    text += "\naddress = " + quoted(config.hub.address) + " # what join tokens name\n";
    if (!config.metrics.listen.empty())
        text += "\n[metrics] # for Prometheus\nlisten = " + quoted(config.metrics.listen) + "\n";
    text += "\n[store]\nplugin = " + quoted(config.store.plugin) + "\n";
    text += "\n[signer]\nplugin = " + quoted(config.signer.plugin);
    text += "\nuser = " + quoted(config.signer.user) + "\n";
    text += "\n[factors.totp]\n[factors.recovery]\n";
    return text;
}

} // namespace latchkey::daemon
