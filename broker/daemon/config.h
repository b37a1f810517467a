// SPDX-License-Identifier: Apache-2.0
#pragma once
// latchkeyd.toml as values. read_config() fails with kConfig and names file, line and key; unknown keys are
// refused, so that a misspelt limit is never silently absent. Paths that are left out lie under state_dir.
// Value type.

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/protocol/join_token.h"

namespace latchkey::daemon {

using PluginSettings = std::map<std::string, std::string>;

struct Config {
    std::filesystem::path file;

    struct {
        std::filesystem::path state_dir = "/var/lib/latchkey";
        std::filesystem::path plugin_dir; // default: beside the installed programs
        std::string user = "latchkey";    // whom root becomes; not used where another user starts us
        std::filesystem::path data_key;   // default: state_dir/data.key, or a systemd credential
        std::string name = "latchkey";    // issuer in authenticator apps, name in messages
        std::string log_level = "info";
    } broker;

    struct {
        std::vector<std::string> listen = {"0.0.0.0:2222"};
        std::string address = "broker:2222"; // what people type, for messages: host:port
        std::uint32_t login_grace_seconds = 60;
        std::uint32_t max_logins = 1024;
        std::uint32_t max_unauthenticated = 128;
        std::uint32_t max_unauthenticated_per_address = 8;
    } door;

    struct {
        std::string listen = "0.0.0.0:7443";
        std::string address;                          // what goes into join tokens; default: listen
        std::vector<protocol::BrokerAddress> brokers; // of the same database, told to agents
        std::uint32_t heartbeat_seconds = 5;
        std::uint32_t max_agents = 16000;
        std::uint32_t max_unauthenticated = 512;
        std::uint32_t handshakes_per_second = 300;
    } hub;

    struct {
        std::string listen;        // address:port; empty: no metrics
        bool allow_remote = false; // else a loopback address only
    } metrics;

    struct {
        std::string plugin = "sqlite";
        PluginSettings settings; // sqlite: path
    } store;

    struct {
        std::string plugin = "file-signer";
        PluginSettings settings; // file-signer: key
        std::string user = "latchkey-signer";
        std::filesystem::path program; // default: beside latchkeyd
        std::filesystem::path socket;  // set: a signer that someone else runs
    } signer;

    std::map<std::string, PluginSettings> factors = {{"totp", {}}, {"recovery", {}}};

    struct {
        std::uint32_t unlock_seconds = 12 * 3600;
        std::uint32_t certificate_seconds = 3600; // upper limit; a rule's ttl may be shorter
        std::uint32_t admin_fresh_seconds = 15 * 60;
        std::uint32_t min_rsa_bits = 3072;
        std::uint32_t invite_seconds = 24 * 3600;
    } limits;
};

Result<Config> read_config(const std::filesystem::path& file);
Result<Config> parse_config(std::string_view text, const std::filesystem::path& file);

// The file that `init` writes where there is none: commented, with these values.
std::string config_text(const Config& config);

} // namespace latchkey::daemon
