// SPDX-License-Identifier: Apache-2.0
#pragma once
// OpenSSH user certificates (PROTOCOL.certkeys): build the to-be-signed bytes, put a signature under them,
// parse, verify. Subject fields are carried verbatim, so every key type shares one path. Values only; any
// thread. Limit: 64 KiB an encoded certificate, 256 principals.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/bytes.h"
#include "core/base/clock.h"
#include "core/base/names.h"
#include "core/base/result.h"
#include "core/keys/public_key.h"

namespace latchkey::cert {

inline constexpr std::size_t kMaxCertificateSize = 64 * 1024;
inline constexpr std::size_t kMaxPrincipals = 256;
inline constexpr std::uint32_t kTypeUser = 1; // SSH_CERT_TYPE_USER
inline constexpr std::uint32_t kTypeHost = 2;

struct Option {
    std::string name;
    std::string value; // decoded: empty for flags
    auto operator<=>(const Option&) const = default;
};

// The certificate's content, as policy asks for it and as a parsed one shows it.
struct Content {
    keys::PublicKey subject;
    Serial serial;
    std::uint32_t type = kTypeUser;
    std::string key_id; // "<user>/<serial>"
    std::vector<std::string> principals;
    std::uint64_t valid_after = 0; // seconds since 1970; valid while valid_after <= now < valid_before
    std::uint64_t valid_before = 0;
    std::vector<Option> critical_options; // source-address, force-command, verify-required
    std::vector<Option> extensions;       // permit-pty, …
};

// The bytes that the CA signs; options are sorted by name as the format demands. nonce: 32 random bytes.
// kUsage for zero or over 256 principals, empty window, option given twice.
Result<Bytes> to_be_signed(const Content& content, ByteView nonce, const keys::PublicKey& ca);

// to-be-signed bytes + the CA's signature blob = the certificate's blob.
Bytes with_signature(ByteView to_be_signed, ByteView signature_blob);

class Certificate {
public:
    // Well-formedness only; unknown critical options are kept and refused by verify().
    static Result<Certificate> from_blob(ByteView blob);
    static Result<Certificate> from_line(std::string_view line); // "type base64 [comment]"

    const Content& content() const { return content_; }
    const keys::PublicKey& ca() const { return *ca_; }
    const Bytes& blob() const { return blob_; }
    std::string line() const;
    Bytes digest() const; // SHA-256 of the blob: what the statement names
    ByteView signed_part() const;
    ByteView signature() const;

private:
    Content content_;
    std::optional<keys::PublicKey> ca_;
    Bytes blob_;
    std::size_t signed_size_ = 0;
    std::size_t signature_offset_ = 0;
};

// The to-be-signed bytes alone (no signature yet): what the signer parses before it signs.
Result<Content> parse_to_be_signed(ByteView bytes, keys::PublicKey* ca = nullptr);

// Each refusal has its own error: wrong type, CA not in the list, bad signature, not yet valid, expired, no
// principals, unknown critical option, principal not named. `login` empty: not asked.
Status verify(const Certificate& certificate, const std::vector<keys::PublicKey>& trusted_cas, Micros now,
              const Login& login);

} // namespace latchkey::cert
