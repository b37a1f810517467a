// SPDX-License-Identifier: Apache-2.0
#include "broker/daemon/keys_on_disk.h"

#include <openssl/rand.h>
#include <unistd.h>

#include "broker/daemon/account.h"
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

Failure missing(Error error, const Config& config) {
    if (error.code == Code::kNotFound) error.next = "run: latchkeyd init --config " + config.file.string();
    return fail(std::move(error));
}

Result<SecretBytes> read_secret(const std::filesystem::path& path, const Config& config) {
    auto content = posix::read_secret_file(path);
    if (!content) return missing(std::move(content).error(), config);
    return content;
}

Result<keys::PrivateKey> read_key(const std::filesystem::path& path, const Config& config) {
    LK_TRY(pem, read_secret(path, config));
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
    LK_TRY(identity, read_key(identity_file(config), config));
    LK_TRY(ledger, read_key(ledger_file(config), config));
    LK_TRY(data_key, read_secret(config.broker.data_key, config));
    if (data_key.size() != kDataKeySize) {
        return fail(Code::kConfig, config.broker.data_key.string() + " does not hold a data key of 32 bytes",
                    "restore it from your backup: without it the database cannot be read");
    }
    return BrokerKeys{std::move(identity), std::move(ledger), std::move(data_key)};
}

Status make_keys(const Config& config) {
    LK_CHECK(make_key(identity_file(config), "latchkey-broker"));
    LK_CHECK(make_key(ledger_file(config), "latchkey-ledger"));
    if (std::filesystem::exists(config.broker.data_key)) return {};
    SecretBytes data_key(kDataKeySize);
    if (RAND_bytes(data_key.writable().data(), static_cast<int>(kDataKeySize)) != 1) {
        return fail(Code::kInternal, "the system gives no random numbers");
    }
    return posix::write_file(config.broker.data_key, data_key.view(), 0600);
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
