// SPDX-License-Identifier: Apache-2.0
#include "core/cert/certificate.h"

#include <algorithm>

#include "core/keys/openssl.h"
#include "core/wire/reader.h"
#include "core/wire/writer.h"

namespace latchkey::cert {
namespace {

constexpr std::size_t kMinNonceSize = 16;
constexpr std::size_t kMaxLineSize = kMaxCertificateSize / 3 * 4 + 4096;
constexpr std::string_view kForceCommand = "force-command";
constexpr std::string_view kSourceAddress = "source-address";
constexpr std::string_view kVerifyRequired = "verify-required";

Failure usage(std::string message) {
    return fail(Code::kUsage, std::move(message));
}

Failure malformed(std::string message) {
    return fail(Code::kMalformed, std::move(message));
}

bool holds_nul(std::string_view text) { // sshd reads these as C strings and refuses a NUL inside
    return text.find('\0') != std::string_view::npos;
}

// Each name once, in lexical order; a flag's data is empty, a value is a string inside the data.
Result<Bytes> encode_options(std::vector<Option> options) {
    std::ranges::sort(options);
    wire::Writer writer;
    for (std::size_t i = 0; i < options.size(); ++i) {
        const Option& option = options[i];
        if (i > 0 && option.name == options[i - 1].name) return usage("option given twice: " + option.name);
        if (option.name.empty() || holds_nul(option.name) || holds_nul(option.value))
            return usage("option without a name, or with a NUL in it");
        writer.string(option.name);
        if (option.value.empty()) {
            writer.string("");
        } else {
            writer.u32(static_cast<std::uint32_t>(option.value.size() + 4));
            writer.string(option.value);
        }
    }
    return writer.take();
}

Result<std::vector<Option>> decode_options(ByteView bytes) {
    std::vector<Option> options;
    wire::Reader reader(bytes);
    while (!reader.at_end()) {
        LK_TRY(name, reader.text());
        LK_TRY(data, reader.string());
        if (name.empty() || holds_nul(name)) return malformed("option without a name, or with a NUL in it");
        if (!options.empty() && name <= options.back().name)
            return malformed("options out of order or given twice");
        std::string_view value;
        if (!data.empty()) {
            wire::Reader inner(data);
            LK_TRY(text, inner.text());
            LK_CHECK(inner.expect_end());
            if (text.empty() || holds_nul(text))
                return malformed("option with an empty value or a NUL in it");
            value = text;
        }
        options.push_back({std::string(name), std::string(value)});
    }
    return options;
}

Result<std::vector<std::string>> decode_principals(ByteView bytes) {
    std::vector<std::string> principals;
    wire::Reader reader(bytes);
    while (!reader.at_end()) {
        LK_TRY(principal, reader.text());
        if (principal.empty() || holds_nul(principal)) return malformed("empty principal, or a NUL in it");
        if (principals.size() == kMaxPrincipals) return fail(Code::kTooLarge, "over 256 principals");
        principals.emplace_back(principal);
    }
    return principals;
}

struct Parsed {
    Content content;
    keys::PublicKey ca;
};

// Everything that the CA signs; the reader is left behind it.
Result<Parsed> parse_signed_part(wire::Reader& reader) {
    Parsed parsed;
    Content& content = parsed.content;
    LK_TRY(type_name, reader.text());
    LK_TRY(nonce, reader.string());
    LK_TRY(subject, keys::PublicKey::from_certificate_fields(type_name, reader));
    LK_TRY(serial, reader.u64());
    LK_TRY(type, reader.u32());
    LK_TRY(key_id, reader.text());
    LK_TRY(principals_bytes, reader.string());
    LK_TRY(valid_after, reader.u64());
    LK_TRY(valid_before, reader.u64());
    LK_TRY(critical_bytes, reader.string());
    LK_TRY(extension_bytes, reader.string());
    LK_TRY(reserved, reader.string());
    LK_TRY(ca_blob, reader.string());
    if (type != kTypeUser && type != kTypeHost) return malformed("certificate of neither user nor host type");
    if (nonce.size() < kMinNonceSize) return malformed("certificate whose nonce is too short");
    if (holds_nul(key_id)) return malformed("key id with a NUL in it");
    if (!reserved.empty()) return malformed("certificate with bytes in its reserved field");
    LK_TRY(principals, decode_principals(principals_bytes));
    LK_TRY(critical_options, decode_options(critical_bytes));
    LK_TRY(extensions, decode_options(extension_bytes));
    LK_TRY(ca, keys::PublicKey::from_blob(ca_blob));
    content.subject = std::move(subject);
    content.serial = {serial};
    content.type = type;
    content.key_id = std::string(key_id);
    content.principals = std::move(principals);
    content.valid_after = valid_after;
    content.valid_before = valid_before;
    content.critical_options = std::move(critical_options);
    content.extensions = std::move(extensions);
    parsed.ca = std::move(ca);
    return parsed;
}

Failure too_large() {
    return fail(Code::kTooLarge, "certificate over 64 KiB");
}

// sshd enforces these three itself; one that it does not know, it refuses, and so do we.
Status check_critical_options(const std::vector<Option>& options) {
    for (const Option& option : options) {
        const bool is_flag = option.value.empty();
        if (option.name == kVerifyRequired) {
            if (!is_flag) return malformed("verify-required with a value");
        } else if (option.name == kForceCommand || option.name == kSourceAddress) {
            if (is_flag) return malformed(option.name + " without a value");
        } else {
            return fail(Code::kUnsupported, "certificate with an unknown critical option");
        }
    }
    return {};
}

} // namespace

Result<Bytes> to_be_signed(const Content& content, ByteView nonce, const keys::PublicKey& ca) {
    if (content.principals.empty()) return usage("a certificate names at least one principal");
    if (content.principals.size() > kMaxPrincipals)
        return usage("a certificate names at most 256 principals, not " +
                     std::to_string(content.principals.size()));
    if (content.valid_after >= content.valid_before) return usage("certificate that is valid at no time");
    if (content.type != kTypeUser && content.type != kTypeHost) return usage("certificate type 1 or 2");
    if (nonce.size() < kMinNonceSize) return usage("a nonce has 32 random bytes");
    if (holds_nul(content.key_id)) return usage("key id with a NUL in it");
    if (content.subject.blob().empty() || ca.blob().empty()) return usage("certificate without a key");
    LK_TRY(critical_options, encode_options(content.critical_options));
    LK_TRY(extensions, encode_options(content.extensions));
    std::size_t principals_size = 0;
    for (const std::string& principal : content.principals) {
        if (principal.empty() || holds_nul(principal)) return usage("empty principal, or a NUL in it");
        principals_size += 4 + principal.size();
    }

    const std::string_view type_name = keys::cert_type_name(content.subject.type());
    wire::Writer writer;
    const std::size_t size = type_name.size() + nonce.size() + content.subject.fields().size() +
                             content.key_id.size() + principals_size + critical_options.size() +
                             extensions.size() + ca.blob().size() + 64;
    if (size > kMaxCertificateSize) return too_large();
    writer.reserve(size);
    writer.string(type_name);
    writer.string(nonce);
    writer.raw(content.subject.fields());
    writer.u64(content.serial.value);
    writer.u32(content.type);
    writer.string(content.key_id);
    writer.u32(static_cast<std::uint32_t>(principals_size));
    for (const std::string& principal : content.principals) writer.string(principal);
    writer.u64(content.valid_after);
    writer.u64(content.valid_before);
    writer.string(critical_options);
    writer.string(extensions);
    writer.string("");
    writer.string(ca.blob());
    return writer.take();
}

Bytes with_signature(ByteView to_be_signed, ByteView signature_blob) {
    wire::Writer writer;
    writer.reserve(to_be_signed.size() + 4 + signature_blob.size());
    writer.raw(to_be_signed);
    writer.string(signature_blob);
    return writer.take();
}

Result<Certificate> Certificate::from_blob(ByteView blob) {
    if (blob.size() > kMaxCertificateSize) return too_large();
    wire::Reader reader(blob);
    LK_TRY(parsed, parse_signed_part(reader));
    const std::size_t signed_size = blob.size() - reader.rest().size();
    LK_TRY(signature, reader.string());
    LK_CHECK(reader.expect_end());
    Certificate certificate;
    certificate.content_ = std::move(parsed.content);
    certificate.ca_ = std::move(parsed.ca);
    certificate.blob_ = to_bytes(blob);
    certificate.signed_size_ = signed_size;
    certificate.signature_offset_ = blob.size() - signature.size();
    return certificate;
}

Result<Certificate> Certificate::from_line(std::string_view line) {
    static constexpr std::string_view blank = " \t\r\n";
    if (line.size() > kMaxLineSize) return too_large();
    const std::string_view name = line.substr(0, line.find_first_of(blank));
    line.remove_prefix(name.size());
    line.remove_prefix(std::min(line.find_first_not_of(blank), line.size()));
    LK_TRY(blob, from_base64(line.substr(0, line.find_first_of(blank))));
    LK_TRY(certificate, from_blob(blob));
    if (name != keys::cert_type_name(certificate.content().subject.type()))
        return malformed("certificate line whose type is not its certificate's");
    return certificate;
}

std::string Certificate::line() const {
    const std::string_view name = keys::cert_type_name(content_.subject.type());
    const std::string base64 = to_base64(blob_);
    std::string out;
    out.reserve(name.size() + 1 + base64.size());
    return out.append(name).append(1, ' ').append(base64);
}

Bytes Certificate::digest() const {
    return to_bytes(keys::sha256(blob_));
}

ByteView Certificate::signed_part() const {
    return ByteView(blob_).first(signed_size_);
}

ByteView Certificate::signature() const {
    return ByteView(blob_).subspan(signature_offset_);
}

Result<Content> parse_to_be_signed(ByteView bytes, keys::PublicKey* ca) {
    if (bytes.size() > kMaxCertificateSize) return too_large();
    wire::Reader reader(bytes);
    LK_TRY(parsed, parse_signed_part(reader));
    LK_CHECK(reader.expect_end());
    if (ca != nullptr) *ca = std::move(parsed.ca);
    return std::move(parsed.content);
}

Status verify(const Certificate& certificate, const std::vector<keys::PublicKey>& trusted_cas, Micros now,
              const Login& login) {
    const Content& content = certificate.content();
    if (content.type != kTypeUser) return fail(Code::kRefused, "this is a host certificate, not a user's");
    if (std::ranges::find(trusted_cas, certificate.ca()) == trusted_cas.end())
        return fail(Code::kRefused, "certificate of a CA that is not trusted here");
    LK_CHECK(certificate.ca().verify(certificate.signature(), certificate.signed_part()));
    const auto seconds = static_cast<std::uint64_t>(std::max<std::int64_t>(now.seconds(), 0));
    if (seconds < content.valid_after) return fail(Code::kNotYetValid, "certificate that is not yet valid");
    if (seconds >= content.valid_before) return fail(Code::kExpired, "certificate that has ended");
    if (content.principals.empty()) return fail(Code::kRefused, "certificate that names no principal");
    LK_CHECK(check_critical_options(content.critical_options));
    if (!login.empty() && std::ranges::find(content.principals, login.str()) == content.principals.end())
        return fail(Code::kRefused, "certificate that does not name this login");
    return {};
}

} // namespace latchkey::cert
