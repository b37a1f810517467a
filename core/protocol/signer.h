// SPDX-License-Identifier: Apache-2.0
#pragma once
// The signer protocol: latchkeyd -> latchkey-signer over a Unix socket, many requests a connection, one at a
// time each. The signer parses what it signs and judges it by its own permit table: it never signs opaque
// bytes. Refused (local.h) answers a request that its limits forbid. Bytes: docs/protocol-signer.md.

#include <vector>

#include "core/protocol/local.h"

namespace latchkey::protocol {

struct SignCertificate {
    static constexpr Type kType = Type::kSignCertificate;
    Bytes to_be_signed; // core/cert/certificate.h; names the CA key inside
    Extensions extensions;
    void fields(auto& archive) { archive(to_be_signed); }
};

struct Signed {
    static constexpr Type kType = Type::kSigned;
    Bytes signature; // SSH signature blob
    Extensions extensions;
    void fields(auto& archive) { archive(signature); }
};

struct PublicKeys {
    static constexpr Type kType = Type::kPublicKeys;
    Extensions extensions;
    void fields(auto&) {}
};

struct PublicKeyList {
    static constexpr Type kType = Type::kPublicKeyList;
    std::vector<Bytes> keys; // public key blobs
    Extensions extensions;
    void fields(auto& archive) { archive(keys); }
};

} // namespace latchkey::protocol
