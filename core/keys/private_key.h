// SPDX-License-Identifier: Apache-2.0
#pragma once
// A private key of ours: broker identity, ledger key, VM identity, the CA key of the file signer. Ed25519,
// ECDSA P-256 or RSA (rsa-sha2-512). Kept in OpenSSL; written in OpenSSH's own format (PROTOCOL.key, no
// passphrase) so that ssh-keygen reads it. Move-only. sign() may be called from several threads at once.

#include <memory>
#include <string_view>

#include "core/base/bytes.h"
#include "core/base/result.h"
#include "core/base/secret_bytes.h"
#include "core/keys/public_key.h"

struct evp_pkey_st;

namespace latchkey::keys {

class PrivateKey {
public:
    PrivateKey(PrivateKey&&) noexcept;
    PrivateKey& operator=(PrivateKey&&) noexcept;
    ~PrivateKey();

    static Result<PrivateKey> generate(KeyType type, unsigned rsa_bits = 3072);
    // OpenSSH format ("-----BEGIN OPENSSH PRIVATE KEY-----"), unencrypted, or PKCS#8 PEM. A passphrase is
    // kUnsupported with the line to run. Limit 64 KiB.
    static Result<PrivateKey> from_pem(ByteView pem);
    SecretBytes to_openssh_pem(std::string_view comment) const; // empty only where OpenSSL itself fails

    const PublicKey& public_key() const;
    // An SSH signature blob: string algorithm, string signature.
    Result<Bytes> sign(ByteView data) const;

    // Borrowed, for a TLS context (tls_identity.h).
    evp_pkey_st* native() const;

private:
    struct State;
    explicit PrivateKey(std::unique_ptr<State> state);
    static Result<PrivateKey> adopt(evp_pkey_st* owned);
    std::unique_ptr<State> state_;
};

} // namespace latchkey::keys
