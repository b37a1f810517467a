// SPDX-License-Identifier: Apache-2.0
#include "broker/daemon/keys_on_disk.h"

#include <openssl/rand.h>
#include <unistd.h>

#include <array>

#include "broker/daemon/account.h"
#include "broker/ledger/brokers.h"
#include "core/posix/file.h"

namespace latchkey::daemon {
namespace {

constexpr std::size_t kDataKeySize = 32;

std::filesystem::path identity_file(const Config& config) {
    return config.broker.state_dir / "broker_ed25519";
}

std::filesystem::path ledger_file(const Config& config) {
    return config.broker.state_dir / "ledger_ed25519";
}

constexpr const char* kPutBack = "put it back from your backup: docs/backup.md";

std::array<std::filesystem::path, 3> key_files(const Config& config) {
    return {config.broker.data_key, ledger_file(config), identity_file(config)};
}

Result<SecretBytes> read_secret(const std::filesystem::path& path) {
    auto content = posix::read_secret_file(path);
    if (content || content.error().code != Code::kNotFound) return content;
    return fail(Code::kConfig, content.error().message, kPutBack);
}

Result<keys::PrivateKey> read_key(const std::filesystem::path& path) {
    LK_TRY(pem, read_secret(path));
    auto key = keys::PrivateKey::from_pem(pem.view());
    if (!key) return fail(key.error().code, path.string() + ": " + key.error().message, key.error().next);
    return key;
}

Status make_key(const std::filesystem::path& path, std::string_view comment) {
    if (std::filesystem::exists(path)) return {};
    LK_TRY(key, keys::PrivateKey::generate(keys::KeyType::kEd25519));
    return posix::write_file(path, key.to_openssh_pem(comment).view(), 0600);
}

} // namespace

Result<BrokerKeys> read_keys(const Config& config) {
    const auto held = held_keys(config);
    if (held && *held == HeldKeys::kNone) {
        return fail(Code::kConfig, "there are no keys of a broker in " + config.broker.state_dir.string(),
                    "a new broker: latchkeyd init; one that served: put its keys back: docs/backup.md");
    }
    LK_TRY(identity, read_key(identity_file(config)));
    LK_TRY(ledger, read_key(ledger_file(config)));
    LK_TRY(data_key, read_secret(config.broker.data_key));
    if (data_key.size() != kDataKeySize) {
        return fail(Code::kConfig, config.broker.data_key.string() + " does not hold a data key of 32 bytes",
                    kPutBack);
    }
    return BrokerKeys{std::move(identity), std::move(ledger), std::move(data_key)};
}

Result<HeldKeys> held_keys(const Config& config) {
    std::string there;
    std::string missing;
    for (const std::filesystem::path& file : key_files(config)) {
        std::error_code ignored; // a folder that is not there
        std::string& list = std::filesystem::exists(file, ignored) ? there : missing;
        list += (list.empty() ? "" : ", ") + file.filename().string();
    }
    if (missing.empty()) return HeldKeys::kAll;
    if (there.empty()) return HeldKeys::kNone;
    return fail(Code::kConfig, "of this broker's keys " + missing + " is missing, " + there + " is there",
                std::string(kPutBack) + " (where no broker ever served: remove what is there)");
}

Status check_keys_of_database(ledger::Ledger& ledger, const BrokerKeys& keys) {
    return ledger.write([&](ledger::Transaction& t) {
        return ledger::check_broker_keys(t, keys.identity.public_key().fingerprint(),
                                         keys.ledger.public_key().fingerprint());
    });
}

// The identity last: the units start once it is there.
Status make_keys(const Config& config) {
    SecretBytes data_key(kDataKeySize);
    if (RAND_bytes(data_key.writable().data(), static_cast<int>(kDataKeySize)) != 1) {
        return fail(Code::kInternal, "the system gives no random numbers");
    }
    LK_CHECK(posix::write_file(config.broker.data_key, data_key.view(), 0600));
    LK_CHECK(make_key(ledger_file(config), "latchkey-ledger"));
    return make_key(identity_file(config), "latchkey-broker");
}

Status make_ca_key(const Config& config) {
    if (config.signer.plugin != "file-signer") return {};
    // A signer that somebody else runs has its own account, for which only root can make a key.
    if (!config.signer.socket.empty() && ::geteuid() != 0) return {};
    const std::filesystem::path path = config.signer.settings.at("key");
    LK_TRY(owner, account_for(config.signer.user));
    LK_CHECK(make_private_folder(path.parent_path(), owner));
    LK_CHECK(make_key(path, "latchkey-ca"));
    if (::geteuid() == 0 && ::chown(path.c_str(), owner.uid, owner.gid) != 0) {
        return fail(Code::kIo, "cannot hand " + path.string() + " to " + owner.name);
    }
    return {};
}

} // namespace latchkey::daemon
