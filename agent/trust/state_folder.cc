// SPDX-License-Identifier: Apache-2.0
#include "agent/trust/state_folder.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "agent/trust/revocation_files.h"
#include "core/base/unique_handle.h"
#include "core/keys/openssl.h"
#include "core/posix/file.h"
#include "core/protocol/break_glass.h"
#include "core/protocol/managed_logins.h"

namespace latchkey::agent {
namespace {

constexpr std::string_view kIdentityFile = "identity";
constexpr std::string_view kPinFile = "broker";
constexpr std::string_view kBrokersFile = "brokers";
constexpr std::string_view kTrustFile = "trust";
constexpr std::string_view kSessionsFile = "sessions";
constexpr std::string_view kLostSessionsFile = "sessions-lost";
constexpr std::string_view kReceiptsFile = "receipts";
constexpr std::string_view kReportsFile = "reports";
constexpr std::string_view kManagedFile = "managed-logins";
constexpr std::size_t kDigestSize = 32;
constexpr std::string_view kJoinAgain = "join again: latchkey-agent join <token>";

// string label, string body, SHA-256 over both: a torn write and a slip of an editor are noticed.
Bytes seal(std::string_view label, ByteView body) {
    wire::Writer writer;
    writer.string(label);
    writer.string(body);
    writer.raw(keys::sha256(writer.bytes()));
    return writer.take();
}

Failure tampered(const std::filesystem::path& path) {
    return fail(Code::kTampered, path.string() + " is torn or altered: its checksum does not fit",
                std::string(kJoinAgain));
}

Result<Bytes> unseal(std::string_view label, ByteView sealed, const std::filesystem::path& path) {
    if (sealed.size() < kDigestSize) return tampered(path);
    const ByteView content = sealed.first(sealed.size() - kDigestSize);
    if (!equal(keys::sha256(content), sealed.last(kDigestSize))) return tampered(path);
    wire::Reader reader(content);
    const auto found = reader.text();
    const auto body = reader.string(posix::kDefaultFileLimit);
    if (!found || *found != label || !body || !reader.at_end()) return tampered(path);
    return to_bytes(*body);
}

// To be looked at: NAME.damaged.
std::error_code set_aside(const std::filesystem::path& folder, std::string_view name) {
    std::error_code problem;
    std::filesystem::rename(folder / name, folder / (std::string(name) + ".damaged"), problem);
    return problem;
}

// Of this boot; empty where the kernel does not say, and then sessions are not known again.
std::string boot_id() {
    std::array<char, 64> text{};
    const UniqueFd fd(::open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC));
    const ssize_t size = fd ? ::read(fd.get(), text.data(), text.size()) : 0;
    return size > 0 ? std::string(text.data(), static_cast<std::size_t>(size)) : std::string();
}

Result<BrokerPin> decode_pin(ByteView body) {
    wire::Reader reader(body);
    LK_TRY(address, reader.text());
    LK_TRY(key, reader.text());
    LK_TRY(id, reader.u64());
    LK_TRY(name, reader.text());
    LK_CHECK(reader.expect_end());
    LK_TRY(broker, protocol::BrokerAddress::parse(address));
    LK_TRY(broker_key, Fingerprint::parse(key));
    LK_TRY(vm_name, VmName::parse(name));
    return BrokerPin{std::move(broker), std::move(broker_key), {id}, std::move(vm_name)};
}

Bytes encode_pin(const BrokerPin& pin) {
    wire::Writer writer;
    writer.string(pin.broker.text());
    writer.string(pin.broker_key.str());
    writer.u64(pin.vm_id.value);
    writer.string(pin.vm_name.str());
    return writer.take();
}

} // namespace

Status StateFolder::make() const {
    std::error_code problem;
    std::filesystem::create_directories(folder_, problem);
    if (problem)
        return fail(Code::kIo, "cannot make the folder " + folder_.string() + ": " + problem.message());
    if (::chmod(folder_.c_str(), 0755) != 0) {
        return fail(Code::kIo, "cannot set the mode of " + folder_.string() + ": " + std::strerror(errno),
                    "run it as root");
    }
    return {};
}

Result<keys::PrivateKey> StateFolder::load_identity() const {
    LK_TRY(pem, posix::read_secret_file(folder_ / kIdentityFile));
    auto key = keys::PrivateKey::from_pem(pem.view());
    if (!key) return fail(Code::kTampered, "this VM's identity key cannot be read", std::string(kJoinAgain));
    if (key->public_key().type() != keys::KeyType::kEd25519)
        return fail(Code::kTampered, "this VM's identity key is not ed25519", std::string(kJoinAgain));
    return key;
}

Result<keys::PrivateKey> StateFolder::load_or_make_identity() const {
    auto held = load_identity();
    if (held || (held.error().code != Code::kNotFound && held.error().code != Code::kTampered)) return held;
    if (held.error().code == Code::kTampered) {
        if (const std::error_code problem = set_aside(folder_, kIdentityFile))
            return fail(Code::kIo, "cannot set the torn identity key aside: " + problem.message());
    }
    LK_TRY(key, keys::PrivateKey::generate(keys::KeyType::kEd25519));
    LK_CHECK(posix::write_file(folder_ / kIdentityFile, key.to_openssh_pem("latchkey-agent").view(), 0600));
    return key;
}

Result<BrokerPin> StateFolder::load_pin() const {
    const auto path = folder_ / kPinFile;
    LK_TRY(sealed, posix::read_file(path));
    LK_TRY(body, unseal("latchkey-broker-pin-v1", sealed, path));
    auto pin = decode_pin(body);
    if (!pin) return tampered(path);
    return pin;
}

Result<std::vector<protocol::BrokerAddress>> StateFolder::load_brokers() const {
    const auto path = folder_ / kBrokersFile;
    LK_TRY(sealed, posix::read_file(path));
    LK_TRY(body, unseal("latchkey-brokers-v1", sealed, path));
    auto brokers = protocol::decode_brokers(body);
    if (!brokers) return tampered(path);
    return brokers;
}

Status StateFolder::save_brokers(const std::vector<protocol::BrokerAddress>& brokers) const {
    return posix::write_file(folder_ / kBrokersFile,
                             seal("latchkey-brokers-v1", protocol::encode_brokers(brokers)), 0600);
}

Result<protocol::TrustSet> StateFolder::load_trust() const {
    const auto path = folder_ / kTrustFile;
    LK_TRY(sealed, posix::read_file(path));
    LK_TRY(body, unseal("latchkey-trust-v1", sealed, path));
    const auto frame = protocol::decode_frame(body);
    if (!frame) return tampered(path);
    auto trust = protocol::decode<protocol::Trust>(*frame);
    if (!trust) return tampered(path);
    return std::move(trust->trust);
}

Status StateFolder::save_trust(const protocol::TrustSet& trust) const {
    protocol::Trust message;
    message.trust = trust;
    return posix::write_file(folder_ / kTrustFile, seal("latchkey-trust-v1", protocol::encode(message)),
                             0600);
}

Result<revocation::RevocationSet> StateFolder::load_revocations() const {
    auto loaded = RevocationFiles(folder_).load();
    constexpr const char* next = "nothing to do where a broker is reached: it sends them anew";
    if (loaded.is_missing) return fail(Code::kNotFound, loaded.damage, next);
    if (!loaded.damage.empty()) return fail(Code::kTampered, loaded.damage, next);
    return std::move(loaded.set);
}

Status StateFolder::save_revocations(ByteView encoded_set) const {
    return RevocationFiles(folder_).replace(encoded_set);
}

Result<std::vector<Login>> StateFolder::load_managed_logins() const {
    LK_TRY(content, posix::read_file(folder_ / kManagedFile));
    auto logins = protocol::parse_managed_logins(as_text(content));
    if (!logins) return tampered(folder_ / kManagedFile);
    return logins;
}

Status StateFolder::save_managed_logins(const std::vector<Login>& logins) const {
    return posix::write_file(folder_ / kManagedFile, as_bytes(protocol::encode_managed_logins(logins)), 0644);
}

Status StateFolder::save_break_glass(const std::vector<Login>& logins) const {
    return posix::write_file(folder_ / protocol::kBreakGlassListFile,
                             as_bytes(protocol::encode_managed_logins(logins)), 0644);
}

Result<Bytes> StateFolder::load_reports() const {
    const auto path = folder_ / kReportsFile;
    LK_TRY(sealed, posix::read_file(path));
    return unseal("latchkey-reports-v1", sealed, path);
}

Status StateFolder::save_reports(ByteView encoded) const {
    return posix::write_file(folder_ / kReportsFile, seal("latchkey-reports-v1", encoded), 0600);
}

Result<Bytes> StateFolder::load_sessions() const {
    auto sessions = load_sessions_at(runtime_ / kSessionsFile);
    const bool is_missing = !sessions && sessions.error().code == Code::kNotFound;
    return is_missing ? load_sessions_at(folder_ / kSessionsFile) : std::move(sessions);
}

Result<Bytes> StateFolder::load_sessions_at(const std::filesystem::path& path) {
    LK_TRY(sealed, posix::read_file(path));
    LK_TRY(body, unseal("latchkey-sessions-v1", sealed, path));
    wire::Reader reader(body);
    const auto boot = reader.text();
    const auto encoded = reader.string(posix::kDefaultFileLimit);
    if (!boot || !encoded || !reader.at_end()) return tampered(path);
    if (boot->empty() || *boot != boot_id()) return fail(Code::kNotFound, "no sessions of this boot");
    return to_bytes(*encoded);
}

Status StateFolder::save_sessions(ByteView encoded) const {
    wire::Writer body;
    body.string(boot_id());
    body.string(encoded);
    LK_CHECK(posix::write_file(runtime_ / kSessionsFile, seal("latchkey-sessions-v1", body.bytes()), 0600,
                               posix::Durability::kThisBootOnly));
    std::error_code ignored; // it is older, and not read any more
    if (runtime_ != folder_) std::filesystem::remove(folder_ / kSessionsFile, ignored);
    return {};
}

std::filesystem::path StateFolder::lost_sessions_file() const {
    return runtime_ / kLostSessionsFile;
}

Status StateFolder::note_lost_sessions() const {
    return posix::write_file(lost_sessions_file(), as_bytes(boot_id()), 0600,
                             posix::Durability::kThisBootOnly);
}

// Where the kernel names no boot, or the note itself cannot be read: in doubt they are lost.
bool StateFolder::has_lost_sessions() const {
    const auto noted = posix::read_file(lost_sessions_file());
    if (!noted) return noted.error().code != Code::kNotFound;
    return as_text(*noted) == boot_id();
}

Result<std::vector<protocol::Receipt>> StateFolder::load_receipts() const {
    const auto path = folder_ / kReceiptsFile;
    LK_TRY(sealed, posix::read_file(path));
    LK_TRY(body, unseal("latchkey-receipts-v1", sealed, path));
    std::vector<protocol::Receipt> receipts;
    wire::Reader reader(body);
    while (!reader.at_end()) {
        const auto bytes = reader.string(protocol::kHubFrameLimit);
        const auto frame = bytes ? protocol::decode_frame(*bytes) : fail(bytes.error());
        auto receipt = frame ? protocol::decode<protocol::Receipt>(*frame) : fail(frame.error());
        if (!receipt) return tampered(path);
        receipts.push_back(*std::move(receipt));
    }
    return receipts;
}

Status StateFolder::save_receipts(const std::vector<protocol::Receipt>& receipts) const {
    wire::Writer body;
    for (const protocol::Receipt& receipt : receipts) body.string(protocol::encode(receipt));
    return posix::write_file(folder_ / kReceiptsFile, seal("latchkey-receipts-v1", body.bytes()), 0600);
}

void StateFolder::set_receipts_aside() const {
    static_cast<void>(set_aside(folder_, kReceiptsFile)); // else the next write replaces it
}

Status StateFolder::begin_with(const BrokerPin& pin) const {
    const auto before = load_pin();
    const bool same_broker = before && before->broker_key == pin.broker_key;
    if (!same_broker || !load_revocations()) LK_CHECK(save_revocations(revocation::RevocationSet().encode()));
    if (!same_broker || !load_trust()) LK_CHECK(save_trust({}));
    std::error_code ignored; // none of them shows the new key
    if (!same_broker) std::filesystem::remove(folder_ / kBrokersFile, ignored);
    return posix::write_file(folder_ / kPinFile, seal("latchkey-broker-pin-v1", encode_pin(pin)), 0600);
}

} // namespace latchkey::agent
