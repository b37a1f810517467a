// SPDX-License-Identifier: Apache-2.0
#include "broker/daemon/serve.h"

#include <signal.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include "broker/daemon/account.h"
#include "broker/daemon/descriptors.h"
#include "broker/daemon/figures.h"
#include "broker/daemon/hub_fleet.h"
#include "broker/daemon/keys_on_disk.h"
#include "broker/daemon/running.h"
#include "broker/desk/desk.h"
#include "broker/door/door.h"
#include "broker/hub/hub.h"
#include "broker/issue/issuer.h"
#include "broker/plugin_host/loader.h"
#include "broker/signer/client.h"
#include "broker/signer/process.h"
#include "broker/unlock/factors.h"
#include "core/posix/descriptors.h"
#include "core/posix/notify.h"

namespace latchkey::daemon {
namespace {

// As many questions at once as commits are worth grouping: a worker waits for the commit that it shares.
constexpr unsigned kHubWorkers = 16;
constexpr unsigned kReaders = 8;

// hub and door have a log level of their own, so that they need no logging library.
template <class Level>
std::function<void(Level, std::string_view)> log_as(const char* room) {
    return [room](Level level, std::string_view line) {
        const auto severity = level == Level::kError  ? spdlog::level::err
                              : level == Level::kWarn ? spdlog::level::warn
                                                      : spdlog::level::info;
        spdlog::log(severity, "{} {}", room, line);
    };
}

void set_up_log(const Config& config) {
    auto logger = spdlog::stderr_logger_mt("latchkeyd");
    logger->set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %l %v", spdlog::pattern_time_type::utc);
    logger->set_level(spdlog::level::from_str(config.broker.log_level));
    logger->flush_on(spdlog::level::info);
    spdlog::set_default_logger(std::move(logger));
}

struct Signer {
    std::unique_ptr<signer::SignerProcess> process; // empty where somebody else runs it
    signer::SignerClient::Connect connect;
};

Result<Signer> start_signer(const Config& config) {
    if (!config.signer.socket.empty()) {
        return Signer{nullptr, signer::SignerClient::at_socket(config.signer.socket.string())};
    }
    LK_TRY(process, signer::SignerProcess::spawn(
                        {.program = config.signer.program, .arguments = {"--config", config.file.string()}}));
    signer::SignerProcess* borrowed = process.get();
    return Signer{std::move(process),
                  [borrowed](const posix::Deadline& deadline) { return borrowed->connect(deadline); }};
}

Result<std::vector<std::unique_ptr<plugin_host::Factor>>> load_factors(const Config& config,
                                                                       plugin_host::Loader& loader) {
    std::vector<std::unique_ptr<plugin_host::Factor>> factors;
    for (const auto& [name, settings] : config.factors) {
        LK_TRY(factor, loader.factor(name, settings));
        factors.push_back(std::move(factor));
    }
    return factors;
}

// Blocked before any thread starts, so that only the wait below takes them.
sigset_t block_ending_signals() {
    sigset_t ending;
    ::sigemptyset(&ending);
    ::sigaddset(&ending, SIGTERM);
    ::sigaddset(&ending, SIGINT);
    ::pthread_sigmask(SIG_BLOCK, &ending, nullptr);
    ::signal(SIGPIPE, SIG_IGN);
    return ending;
}

void tell_ready(int fd) {
    if (!posix::notify_ready()) spdlog::warn("ready: systemd does not hear it");
    if (fd < 0) return;
    static constexpr std::string_view word = "ready\n";
    if (::write(fd, word.data(), word.size()) < 0) spdlog::warn("ready fd={} nobody reads it", fd);
    ::close(fd);
}

} // namespace

Status serve(const Config& config, const ServeOptions& options) {
    set_up_log(config);
    const std::size_t max_agents = room_for_agents(posix::raise_descriptor_limit(), config,
                                                   [](const std::string& line) { spdlog::warn(line); });
    LK_TRY(account, account_for(config.broker.user));
    LK_TRY(signer, start_signer(config)); // while we may still start it as its own user
    LK_CHECK(become(account));
    const sigset_t ending = block_ending_signals();

    LK_TRY(keys, read_keys(config));
    LK_TRY(running, lock_state(config, Use::kBroker));
    const SystemClock clock;
    plugin_host::Loader loader(config.broker.plugin_dir);
    LK_TRY(store, loader.store(config.store.plugin, config.store.settings));
    LK_CHECK(ledger::Ledger::migrate(*store));
    LK_TRY(ledger, ledger::Ledger::open(
                       *store, {.data_key = keys.data_key.clone(), .clock = &clock, .readers = kReaders}));
    LK_CHECK(check_keys_of_database(*ledger, keys));
    LK_TRY(factor_plugins, load_factors(config, loader));
    unlock::Factors factors(*ledger, std::move(factor_plugins),
                            {.clock = &clock,
                             .issuer = config.broker.name,
                             .unlock_for = from_seconds(config.limits.unlock_seconds)});

    signer::SignerClient signer_client(signer.connect);
    issue::Issuer issuer({*ledger, signer_client, keys.ledger, clock},
                         {.max_ttl = from_seconds(config.limits.certificate_seconds)});
    LK_TRY(hub, hub::Hub::start({.ledger = *ledger,
                                 .issuer = issuer,
                                 .identity = keys.identity,
                                 .ledger_keys = {keys.ledger.public_key()},
                                 .clock = clock,
                                 .log = log_as<hub::LogLevel>("hub"),
                                 .factors = &factors},
                                {.listen = config.hub.listen,
                                 .heartbeat = from_seconds(config.hub.heartbeat_seconds),
                                 .max_agents = max_agents,
                                 .max_unauthenticated = config.hub.max_unauthenticated,
                                 .handshakes_per_second = config.hub.handshakes_per_second,
                                 .workers = kHubWorkers,
                                 .shares_ledger = store->listens(),
                                 .address = config.hub.address,
                                 .brokers = config.hub.brokers}));
    const keys::StrengthRules strength{config.limits.min_rsa_bits};
    HubFleet fleet(*hub);
    desk::Desk desk({.ledger = *ledger,
                     .factors = factors,
                     .issuer = issuer,
                     .fleet = fleet,
                     .clock = clock,
                     .settings = {.door_address = config.door.address,
                                  .hub_address = config.hub.address,
                                  .broker_key = keys.identity.public_key().fingerprint(),
                                  .ledger_keys = {keys.ledger.public_key()},
                                  .admin_fresh = from_seconds(config.limits.admin_fresh_seconds),
                                  .invite_for = from_seconds(config.limits.invite_seconds),
                                  .strength = strength,
                                  .ssh_keygen = "/usr/bin/ssh-keygen"}});
    LK_TRY(door, door::Door::start({.ledger = *ledger,
                                    .factors = factors,
                                    .handler = desk,
                                    .identity = keys.identity,
                                    .clock = clock,
                                    .strength = strength,
                                    .log = log_as<door::LogLevel>("door")},
                                   {.listen = config.door.listen,
                                    .login_grace = from_seconds(config.door.login_grace_seconds),
                                    .waiting = config.door.max_logins,
                                    .admission = {.connections = config.door.max_logins,
                                                  .unauthenticated = config.door.max_unauthenticated,
                                                  .unauthenticated_per_address =
                                                      config.door.max_unauthenticated_per_address},
                                    .login = {},
                                    .conversation = {},
                                    .transport = {}}));

    LK_TRY(figures, Figures::start(config, {*ledger, factors, signer_client, issuer, *hub, *door}));

    spdlog::info("start broker door={} hub={} key={}", config.door.address, config.hub.address,
                 keys.identity.public_key().fingerprint().str());
    tell_ready(options.ready_fd);
    int signal = 0;
    ::sigwait(&ending, &signal);
    spdlog::info("stop broker signal={}", signal);
    figures.reset();
    door->stop();
    hub->stop();
    return {};
}

} // namespace latchkey::daemon
