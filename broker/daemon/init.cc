// SPDX-License-Identifier: Apache-2.0
#include "broker/daemon/init.h"

#include <unistd.h>

#include <iostream>

#include "broker/daemon/account.h"
#include "broker/daemon/keys_on_disk.h"
#include "broker/ledger/factors.h"
#include "broker/ledger/ledger.h"
#include "broker/ledger/migrations.h"
#include "broker/ledger/users.h"
#include "broker/plugin_host/loader.h"
#include "core/posix/file.h"

namespace latchkey::daemon {
namespace {

Result<keys::PublicKey> read_admin_key(const InitOptions& options, const Config& config) {
    if (options.admin_key.empty()) {
        return fail(Code::kUsage, "the first admin needs a key", "add: --admin-key ~/.ssh/id_ed25519.pub");
    }
    LK_TRY(content, posix::read_file(options.admin_key, keys::kMaxBlobSize * 2));
    const std::string_view text = as_text(content);
    auto key = keys::PublicKey::from_line(text.substr(0, text.find('\n')));
    if (!key) {
        return fail(key.error().code, options.admin_key.string() + ": " + key.error().message,
                    "give the .pub file of a key pair");
    }
    LK_CHECK(key->check_strength({config.limits.min_rsa_bits}));
    return key;
}

std::string fresh_text(const InitOptions& options) {
    Config fresh = options.fresh;
    fresh.file = options.config_file;
    return config_text(fresh);
}

// Nothing is written yet.
Result<Config> read_or_plan_config(const InitOptions& options) {
    if (std::filesystem::exists(options.config_file)) return read_config(options.config_file);
    return parse_config(fresh_text(options), options.config_file);
}

Status write_config(const InitOptions& options) {
    if (std::filesystem::exists(options.config_file)) return {};
    std::error_code error;
    std::filesystem::create_directories(options.config_file.parent_path(), error);
    if (error) return fail(Code::kIo, "cannot make " + options.config_file.parent_path().string());
    return posix::write_file(options.config_file, as_bytes(fresh_text(options)), 0644);
}

// A database in use whose keys are not here: they were lost, or this is a further broker on it.
Status refuse_used_store(const Config& config) {
    const auto path = config.store.settings.find("path");
    const bool is_file = config.store.plugin == "sqlite" && path != config.store.settings.end();
    if (is_file && !std::filesystem::exists(path->second)) return {}; // looking would make it
    plugin_host::Loader loader(config.broker.plugin_dir);
    LK_TRY(store, loader.store(config.store.plugin, config.store.settings));
    LK_TRY(connection, store->connect());
    LK_TRY(is_used, ledger::is_used(*connection));
    if (!is_used) return {};
    return fail(
        Code::kConfig, "the database is in use, and its keys are not in " + config.broker.state_dir.string(),
        "put them back from your backup (docs/backup.md), or copy another broker's (docs/brokers.md)");
}

// Three tries at a terminal; a wrong app clock is found here and not at the first login.
Result<SecretBytes> confirm(plugin_host::Factor& factor, plugin_host::Enrolment enrolment,
                            const Clock& clock) {
    if (!enrolment.needs_confirmation || ::isatty(STDIN_FILENO) == 0) return std::move(enrolment.state);
    for (int attempt = 0; attempt < 3; ++attempt) {
        std::cout << enrolment.prompt << std::flush;
        std::string code;
        if (!std::getline(std::cin, code)) break;
        LK_TRY(outcome, factor.check(enrolment.state, code, clock.now()));
        if (outcome.accepted) return std::move(outcome.next_state);
        std::cout << outcome.reason << "\n";
    }
    return fail(Code::kUnauthenticated, "the factor was not confirmed",
                "check the clock of the app's device and run latchkeyd init again");
}

Status add_admin(const InitOptions& options, const Config& config, const keys::PublicKey& key,
                 ledger::Ledger& ledger, plugin_host::Loader& loader, const Clock& clock) {
    LK_TRY(name, UserName::parse(options.admin));
    std::vector<std::pair<std::string, SecretBytes>> states;
    for (const auto& [kind, settings] : config.factors) {
        LK_TRY(factor, loader.factor(kind, settings));
        LK_TRY(enrolment, factor->enrol(name.str(), config.broker.name, clock.now()));
        std::cout << "\n" << enrolment.show_qr << enrolment.show_text << "\n";
        LK_TRY(state, confirm(*factor, std::move(enrolment), clock));
        states.emplace_back(kind, std::move(state));
    }
    return ledger.write([&](ledger::Transaction& t) -> Status {
        LK_TRY(user, ledger::add_user(t, name, options.admin_email, ledger::Role::kAdmin, "latchkeyd"));
        LK_TRY(added, ledger::add_key(t, user.id, key, key.comment(), "latchkeyd"));
        for (const auto& [kind, state] : states) {
            LK_TRY(row, ledger::add_factor(t, user.id, kind, state, "latchkeyd"));
        }
        return {};
    });
}

Status refuse_second_admin(ledger::Ledger& ledger, const Config& config) {
    LK_TRY(users, ledger.read([](ledger::Transaction& t) { return ledger::list_users(t); }));
    for (const ledger::User& user : users) {
        if (user.role == ledger::Role::kAdmin && user.state != ledger::UserState::kRemoved) {
            return fail(Code::kExists, "this broker has an admin already: " + user.name.str(),
                        "run: latchkeyd serve --config " + config.file.string());
        }
    }
    return {};
}

} // namespace

Status init(const InitOptions& options) {
    LK_TRY(config, read_or_plan_config(options));
    LK_TRY(key, read_admin_key(options, config));
    LK_TRY(account, account_for(config.broker.user));
    LK_TRY(held, held_keys(config));
    if (held == HeldKeys::kNone) LK_CHECK(as_account(account, [&] { return refuse_used_store(config); }));
    LK_CHECK(write_config(options));
    // One that is missing beside a broker's keys was lost: another would be no CA that a VM trusts.
    if (held == HeldKeys::kNone) LK_CHECK(make_ca_key(config));
    LK_CHECK(make_private_folder(config.broker.state_dir, account));
    LK_CHECK(become(account));
    if (held == HeldKeys::kNone) LK_CHECK(make_keys(config));
    LK_TRY(keys, read_keys(config));

    plugin_host::Loader loader(config.broker.plugin_dir);
    LK_TRY(store, loader.store(config.store.plugin, config.store.settings));
    LK_CHECK(ledger::Ledger::migrate(*store));
    const SystemClock clock;
    LK_TRY(ledger, ledger::Ledger::open(*store, {.data_key = keys.data_key.clone(), .clock = &clock}));
    LK_CHECK(refuse_second_admin(*ledger, config));
    LK_CHECK(check_keys_of_database(*ledger, keys));
    LK_CHECK(add_admin(options, config, key, *ledger, loader, clock));

    const std::string& address = config.door.address;
    const std::string host = address.substr(0, address.rfind(':'));
    const std::string port = address.substr(address.rfind(':') + 1);
    std::cout << "\nFirst admin: " << options.admin << ", key " << key.fingerprint().str()
              << "\nBroker key:  " << keys.identity.public_key().fingerprint().str() << "\nknown_hosts: ["
              << host << "]:" << port << " " << keys.identity.public_key().line()
              << "\n\nNext: latchkeyd serve --config " << config.file.string() << "\nThen: ssh -p " << port
              << " " << options.admin << "@" << host << " help\n";
    return {};
}

Status migrate(const Config& config) {
    LK_TRY(account, account_for(config.broker.user));
    LK_CHECK(become(account)); // whose the file of SQLite is
    plugin_host::Loader loader(config.broker.plugin_dir);
    LK_TRY(store, loader.store(config.store.plugin, config.store.settings));
    return ledger::Ledger::migrate(*store);
}

} // namespace latchkey::daemon
