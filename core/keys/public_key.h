// SPDX-License-Identifier: Apache-2.0
#pragma once
// SSH public keys as OpenSSH encodes them (RFC 4253 section 6.6, RFC 5656, RFC 8709, PROTOCOL.u2f). PublicKey
// is a value: the type and the exact blob; parsing proves that the blob is well formed, check_strength() that
// we accept it. Thread-safe: no shared state. Limit: 16 KiB a blob.

#include <cstdint>
#include <string>
#include <string_view>

#include "core/base/bytes.h"
#include "core/base/names.h"
#include "core/base/result.h"

namespace latchkey::wire {
class Reader;
}

namespace latchkey::keys {

class WeakKeyLookup;

enum class KeyType : std::uint8_t {
    kEd25519 = 1,
    kSkEd25519,
    kEcdsa256,
    kEcdsa384,
    kEcdsa521,
    kSkEcdsa256,
    kRsa
};

inline constexpr std::size_t kMaxBlobSize = 16 * 1024;

std::string_view type_name(KeyType type);      // "ssh-ed25519", "sk-ssh-ed25519@openssh.com", …
std::string_view cert_type_name(KeyType type); // "ssh-ed25519-cert-v01@openssh.com", …

// What the strength rules allow beyond the fixed ones.
struct StrengthRules {
    unsigned min_rsa_bits = 3072;             // never below 2048, whatever is configured
    const WeakKeyLookup* weak_keys = nullptr; // borrowed for the call: published weak keys (weak_keys.h)
};

class PublicKey {
public:
    // The blob alone. DSA and unknown types are kUnsupported; points off their curve and trailing bytes
    // kMalformed.
    static Result<PublicKey> from_blob(ByteView blob);
    // "ssh-ed25519 AAAA… comment", one line; options before the type are refused. The comment is kept apart.
    static Result<PublicKey> from_line(std::string_view line);
    // The key inside a certificate: takes the fields of that certificate type from the reader.
    static Result<PublicKey> from_certificate_fields(std::string_view certificate_type, wire::Reader& reader);

    KeyType type() const { return type_; }
    const Bytes& blob() const { return blob_; }
    // The fields of the blob after the type name: what a certificate holds between nonce and serial.
    ByteView fields() const;
    const std::string& comment() const { return comment_; }
    Fingerprint fingerprint() const; // SHA256:…
    std::string line() const;        // "type base64", without comment
    unsigned bits() const;           // RSA modulus length, curve size otherwise
    bool is_hardware_backed() const { return type_ == KeyType::kSkEd25519 || type_ == KeyType::kSkEcdsa256; }

    // kWeakKey with a message of its own for: short RSA, RSA exponent below 65537 or even, ROCA
    // (CVE-2017-15361), primes too close together (Fermat), an ed25519 point of small order, and keys that
    // rules.weak_keys knows (Debian, CVE-2008-0166).
    Status check_strength(const StrengthRules& rules = {}) const;

    // An SSH signature blob (string algorithm, string signature) over data. SHA-1 (ssh-rsa) is refused; for
    // sk keys the flags byte must have user presence. Fails with kBadSignature.
    Status verify(ByteView signature_blob, ByteView data) const;

    // For ed25519 only: the 32 raw bytes that TLS pins (empty for other types).
    ByteView raw_ed25519() const;

    friend bool operator==(const PublicKey& a, const PublicKey& b) { return a.blob_ == b.blob_; }

private:
    KeyType type_ = KeyType::kEd25519;
    Bytes blob_;
    std::string comment_;
};

} // namespace latchkey::keys
