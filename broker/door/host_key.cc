// SPDX-License-Identifier: Apache-2.0
#include "broker/door/host_key.h"

#include <utility>

#include "broker/door/libssh.h"

namespace latchkey::door {
namespace {

constexpr const char* kBanner = "SSH"; // SSH-2.0-SSH: nothing about what we are
constexpr const char* kKeyExchange =
    "curve25519-sha256,curve25519-sha256@libssh.org,"
    "diffie-hellman-group18-sha512,diffie-hellman-group16-sha512";
// No GCM: libssh before 0.10.6-0+deb12u3 does not judge its tag rightly.
constexpr const char* kCiphers = "chacha20-poly1305@openssh.com,aes256-ctr,aes128-ctr";
constexpr const char* kMacs = "hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com";
// No SHA-1 (ssh-rsa), no DSA, no certificates: a client that has one goes on with its plain key.
constexpr const char* kUserKeys =
    "ssh-ed25519,sk-ssh-ed25519@openssh.com,ecdsa-sha2-nistp256,"
    "ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,"
    "sk-ecdsa-sha2-nistp256@openssh.com,rsa-sha2-512,rsa-sha2-256";

// Below this libssh leaves a signed request without an answer. Our own, higher limit is judged when a key is
// registered, with a message.
constexpr int kLibsshMinRsaBits = 1024;

Status set(ssh_bind bind, ssh_bind_options_e option, const void* value, const char* what) {
    if (ssh_bind_options_set(bind, option, value) == SSH_OK) return {};
    return fail(Code::kInternal, std::string("libssh refuses ") + what + ": " + ssh_get_error(bind));
}

} // namespace

HostKey::HostKey(const keys::PrivateKey& identity) : pem_(identity.to_openssh_pem("")) {}

HostKey::~HostKey() {
    for (ssh_bind bind : idle_) ssh_bind_free(bind);
}

HostKey::Borrowed::~Borrowed() {
    if (bind_ == nullptr) return;
    const std::lock_guard lock(owner_.mutex_);
    owner_.idle_.push_back(bind_);
}

Result<HostKey::Borrowed> HostKey::borrow() {
    {
        const std::lock_guard lock(mutex_);
        if (!idle_.empty()) {
            ssh_bind bind = idle_.back();
            idle_.pop_back();
            return Borrowed(*this, bind);
        }
    }
    LK_TRY(bind, make());
    return Borrowed(*this, bind);
}

Result<ssh_bind_struct*> HostKey::make() const {
    BindHandle bind(ssh_bind_new());
    if (!bind) return fail(Code::kInternal, "libssh is out of memory");
    const bool process_config = false; // a system-wide file would change the lists below
    LK_CHECK(set(bind.get(), SSH_BIND_OPTIONS_PROCESS_CONFIG, &process_config, "process-config"));
    LK_CHECK(set(bind.get(), SSH_BIND_OPTIONS_BANNER, kBanner, "the banner"));
    LK_CHECK(set(bind.get(), SSH_BIND_OPTIONS_KEY_EXCHANGE, kKeyExchange, "the key exchange list"));
    LK_CHECK(set(bind.get(), SSH_BIND_OPTIONS_CIPHERS_C_S, kCiphers, "the cipher list"));
    LK_CHECK(set(bind.get(), SSH_BIND_OPTIONS_CIPHERS_S_C, kCiphers, "the cipher list"));
    LK_CHECK(set(bind.get(), SSH_BIND_OPTIONS_HMAC_C_S, kMacs, "the MAC list"));
    LK_CHECK(set(bind.get(), SSH_BIND_OPTIONS_HMAC_S_C, kMacs, "the MAC list"));
    LK_CHECK(set(bind.get(), SSH_BIND_OPTIONS_HOSTKEY_ALGORITHMS, "ssh-ed25519", "the host key list"));
    LK_CHECK(set(bind.get(), SSH_BIND_OPTIONS_PUBKEY_ACCEPTED_KEY_TYPES, kUserKeys, "the key type list"));
    const int min_bits = kLibsshMinRsaBits;
    LK_CHECK(set(bind.get(), SSH_BIND_OPTIONS_RSA_MIN_SIZE, &min_bits, "the least RSA length"));

    SecretBytes text(pem_.size() + 1); // libssh takes a C string
    std::copy(pem_.view().begin(), pem_.view().end(), text.writable().begin());
    ssh_key key = nullptr;
    const auto* pem = reinterpret_cast<const char*>(text.view().data());
    if (ssh_pki_import_privkey_base64(pem, nullptr, nullptr, nullptr, &key) != SSH_OK) {
        return fail(Code::kConfig, "libssh cannot read the broker's identity key", "it must be ed25519");
    }
    // The bind takes the key over where it accepts it.
    if (ssh_bind_options_set(bind.get(), SSH_BIND_OPTIONS_IMPORT_KEY, key) != SSH_OK) {
        ssh_key_free(key);
        return fail(Code::kInternal,
                    std::string("libssh refuses the host key: ") + ssh_get_error(bind.get()));
    }
    return bind.release();
}

} // namespace latchkey::door
