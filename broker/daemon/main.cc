// SPDX-License-Identifier: Apache-2.0
// latchkeyd: init, check, serve, invite, and what is done to the ledger as a whole. Everything else people do
// over ssh.

#include <CLI/CLI.hpp>
#include <iostream>

#include "broker/daemon/config.h"
#include "broker/daemon/copy_words.h"
#include "broker/daemon/init.h"
#include "broker/daemon/invite.h"
#include "broker/daemon/serve.h"

namespace latchkey::daemon {
namespace {

int report(const Status& status) {
    if (status) return 0;
    std::cerr << "latchkeyd: " << status.error().line() << "\n";
    return info(status.error().code).exit_status;
}

int run(int argc, char** argv) {
    CLI::App app("Latchkey's broker.", "latchkeyd");
    app.set_version_flag("--version", "latchkeyd " LK_VERSION);
    app.require_subcommand(1);
    std::string file = "/etc/latchkey/latchkeyd.toml";
    const auto take_config = [&](CLI::App* words) {
        words->add_option("--config", file, "configuration file")->capture_default_str();
    };

    InitOptions fresh;
    std::string state_dir;
    std::string plugin_dir;
    std::string door;
    CLI::App* init_words = app.add_subcommand("init", "make keys, database and the first admin");
    take_config(init_words);
    init_words->add_option("--admin", fresh.admin, "name of the first admin")->capture_default_str();
    init_words->add_option("--admin-email", fresh.admin_email, "their mail address");
    init_words->add_option("--admin-key", fresh.admin_key, "their SSH public key file")->required();
    const std::string for_new = " (for a new configuration file)";
    init_words->add_option("--state-dir", state_dir, "where keys and database go" + for_new);
    init_words->add_option("--plugin-dir", plugin_dir, "where the plugins are" + for_new);
    init_words->add_option("--door", door, "address:port for people" + for_new);
    init_words->add_option("--hub", fresh.fresh.hub.listen, "address:port for agents" + for_new);

    CLI::App* check_words =
        app.add_subcommand("check", "read the configuration file and say what is wrong in it");
    take_config(check_words);

    CLI::App* migrate_words = app.add_subcommand(
        "migrate", "bring the database to this version's schema, as a role that may; no broker need run");
    take_config(migrate_words);

    std::string invited;
    CLI::App* invite_words = app.add_subcommand(
        "invite", "let an account in anew that nobody can let in: no factors, unlocked, a new invite");
    take_config(invite_words);
    invite_words->add_option("NAME", invited, "the account, such as that of the only admin")->required();

    ServeOptions serving;
    CLI::App* serve_words = app.add_subcommand("serve", "run the broker");
    take_config(serve_words);
    serve_words->add_option("--ready-fd", serving.ready_fd,
                            "write \"ready\" there once people and agents can come");

    CopyWords copies(app, file);

    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? 0 : info(Code::kUsage).exit_status;
    }
    if (init_words->parsed()) {
        fresh.config_file = std::filesystem::absolute(file);
        if (!state_dir.empty()) fresh.fresh.broker.state_dir = std::filesystem::absolute(state_dir);
        if (!plugin_dir.empty()) fresh.fresh.broker.plugin_dir = std::filesystem::absolute(plugin_dir);
        if (!door.empty()) {
            fresh.fresh.door.listen = {door};
            fresh.fresh.door.address = door;
        }
        fresh.fresh.hub.address = fresh.fresh.hub.listen;
        return report(init(fresh));
    }
    auto config = read_config(std::filesystem::absolute(file));
    if (!config) return report(fail(config.error()));
    if (check_words->parsed()) {
        std::cout << file << ": no fault found\n";
        return 0;
    }
    if (migrate_words->parsed()) return report(migrate(*config));
    if (invite_words->parsed()) return report(invite(*config, invited));
    if (copies.parsed()) return report(copies.run(*config));
    return report(serve(*config, serving));
}

} // namespace
} // namespace latchkey::daemon

int main(int argc, char** argv) {
    try {
        return latchkey::daemon::run(argc, argv);
    } catch (const std::exception& error) { // CLI11, spdlog, the standard library
        std::cerr << "latchkeyd: " << error.what() << "\n";
        return 4;
    }
}
