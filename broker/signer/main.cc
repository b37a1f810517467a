// SPDX-License-Identifier: Apache-2.0
// latchkey-signer: holds the CA key through a signer plugin and signs what its permit table lets pass. Serves
// the latchkeyd that started it (--control-fd), or a Unix socket (--socket).
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <iostream>
#include <map>

#include "broker/daemon/config.h"
#include "broker/plugin_host/loader.h"
#include "broker/signer/keeper.h"
#include "broker/signer/rights.h"
#include "broker/signer/server.h"

namespace latchkey::signer {
namespace {

struct Options {
    std::string config_file;
    std::string plugin;
    std::string plugin_dir;
    std::map<std::string, std::string> settings;
    std::string user;        // whom root becomes
    std::string broker_user; // who may connect to the socket
    std::string socket;
    int control_fd = -1;
    std::uint32_t max_lifetime_seconds = 24 * 3600;
    double signatures_per_second = 10'000;
};

// "key=value" of --set; a limit of ours among the plugin's settings is taken out.
Status take_setting(Options& options, const std::string& pair) {
    const auto equals = pair.find('=');
    if (equals == std::string::npos || equals == 0) return fail(Code::kUsage, "--set wants key=value");
    options.settings[pair.substr(0, equals)] = pair.substr(equals + 1);
    return {};
}

Result<double> take_number(Options& options, const std::string& name, double otherwise, double most) {
    const auto found = options.settings.find(name);
    if (found == options.settings.end()) return otherwise;
    const std::string text = found->second;
    options.settings.erase(found);
    char* end = nullptr;
    const double value = std::strtod(text.c_str(), &end);
    if (text.empty() || *end != '\0' || value < 1 || value > most)
        return fail(Code::kConfig, "signer." + name + " wants a number from 1 to " + std::to_string(most));
    return value;
}

Status read_configuration(Options& options) {
    if (!options.config_file.empty()) {
        LK_TRY(config, daemon::read_config(options.config_file));
        if (options.plugin.empty()) options.plugin = config.signer.plugin;
        if (options.plugin_dir.empty()) options.plugin_dir = config.broker.plugin_dir.string();
        if (options.user.empty()) options.user = config.signer.user;
        if (options.broker_user.empty()) options.broker_user = config.broker.user;
        if (options.socket.empty()) options.socket = config.signer.socket.string();
        for (const auto& [key, value] : config.signer.settings) options.settings.try_emplace(key, value);
    }
    LK_TRY(lifetime, take_number(options, "max_lifetime_seconds", options.max_lifetime_seconds, 7 * 86400));
    LK_TRY(rate, take_number(options, "signatures_per_second", options.signatures_per_second, 1e6));
    options.max_lifetime_seconds = static_cast<std::uint32_t>(lifetime);
    options.signatures_per_second = rate;
    if (options.plugin.empty())
        return fail(Code::kUsage, "no signer plugin", "use --config FILE or --plugin NAME");
    if (options.control_fd < 0 && options.socket.empty())
        return fail(Code::kUsage, "no socket to serve",
                    "use --socket PATH; latchkeyd serve starts one by itself");
    return {};
}

int report(const Error& error) {
    std::cerr << "latchkey-signer: " << error.line() << "\n";
    return info(error.code).exit_status;
}

Status serve(const Options& options, uid_t broker_uid, const std::function<void()>& ready) {
    plugin_host::Loader loader(options.plugin_dir);
    LK_TRY(ca, loader.ca_signer(options.plugin, options.settings));
    const SystemClock clock;
    Server server(*ca, clock,
                  {.limits = {.max_lifetime_seconds = options.max_lifetime_seconds},
                   .signatures_per_second = options.signatures_per_second,
                   .log = [](const std::string& line) { std::cerr << "latchkey-signer: " << line << "\n"; }});
    LK_CHECK(server.prepare());
    ready();
    if (options.control_fd >= 0) return server.take_from_control(options.control_fd);
    return server.take_from_socket(options.socket, broker_uid);
}

int run(Options options) {
    ::signal(SIGPIPE, SIG_IGN);
    if (options.control_fd >= 0)
        ::signal(SIGINT, SIG_IGN); // a terminal's Ctrl-C is for latchkeyd, which ends us
    harden();
    if (const Status read = read_configuration(options); !read) return report(read.error());

    const bool is_root = ::geteuid() == 0;
    UserIds own{::geteuid(), ::getegid()};
    uid_t broker_uid = own.uid;
    if (is_root && !options.user.empty()) {
        const auto found = find_unix_user(options.user);
        if (!found) return report(found.error());
        own = *found;
    }
    if (options.control_fd < 0 && !options.broker_user.empty()) {
        const auto found = find_unix_user(options.broker_user);
        if (!found) return report(found.error());
        broker_uid = found->uid;
    }
    const auto worker = [&](const std::function<void()>& ready) {
        if (const Status dropped = drop_root(own); !dropped) return report(dropped.error());
        const Status served = serve(options, broker_uid, ready);
        return served ? EXIT_SUCCESS : report(served.error());
    };
    if (is_root && own.uid != 0) return keep(worker);
    return worker([] {});
}

} // namespace
} // namespace latchkey::signer

int main(int argc, char** argv) {
    latchkey::signer::Options options;
    std::vector<std::string> pairs;
    CLI::App app("Signs SSH certificates for latchkeyd, within its own limits.", "latchkey-signer");
    app.set_version_flag("--version", "latchkey-signer " LATCHKEY_VERSION);
    app.add_option("--config", options.config_file, "latchkeyd.toml, of which [signer] is read");
    app.add_option("--plugin", options.plugin, "signer plugin");
    app.add_option("--plugin-dir", options.plugin_dir, "folder of the plugins");
    app.add_option("--set", pairs, "key=value for the plugin (no secrets: everybody can read them here)");
    app.add_option("--user", options.user, "whom root becomes");
    app.add_option("--broker-user", options.broker_user, "who may connect to --socket");
    app.add_option("--socket", options.socket, "Unix socket to serve");
    app.add_option("--control-fd", options.control_fd, "control socket inherited from latchkeyd");
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        const int status = app.exit(error);
        return status == 0 ? 0 : 2;
    }
    for (const std::string& pair : pairs) {
        if (const auto taken = latchkey::signer::take_setting(options, pair); !taken)
            return latchkey::signer::report(taken.error());
    }
    return latchkey::signer::run(std::move(options));
}
