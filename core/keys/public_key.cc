// SPDX-License-Identifier: Apache-2.0
#include "core/keys/public_key.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/obj_mac.h>

#include <algorithm>
#include <array>

#include "core/keys/openssl.h"
#include "core/wire/reader.h"
#include "core/wire/writer.h"

namespace latchkey::keys {
namespace {

enum class Family : std::uint8_t { kEdwards = 1, kEcdsa, kRsa };

// One row a key type: what OpenSSH calls it and how its fields look.
struct TypeRow {
    KeyType type;
    Family family;
    bool security_key;
    std::string_view name;
    std::string_view cert_name;
    std::string_view curve; // OpenSSH's name
    int curve_nid;
    const char* digest; // that its signatures use; RSA's depends on the algorithm named
    unsigned bits;
};

constexpr std::array kTypes = {
    TypeRow{KeyType::kEd25519, Family::kEdwards, false, "ssh-ed25519", "ssh-ed25519-cert-v01@openssh.com", "",
            0, nullptr, 256},
    TypeRow{KeyType::kSkEd25519, Family::kEdwards, true, "sk-ssh-ed25519@openssh.com",
            "sk-ssh-ed25519-cert-v01@openssh.com", "", 0, nullptr, 256},
    TypeRow{KeyType::kEcdsa256, Family::kEcdsa, false, "ecdsa-sha2-nistp256",
            "ecdsa-sha2-nistp256-cert-v01@openssh.com", "nistp256", NID_X9_62_prime256v1, "SHA256", 256},
    TypeRow{KeyType::kEcdsa384, Family::kEcdsa, false, "ecdsa-sha2-nistp384",
            "ecdsa-sha2-nistp384-cert-v01@openssh.com", "nistp384", NID_secp384r1, "SHA384", 384},
    TypeRow{KeyType::kEcdsa521, Family::kEcdsa, false, "ecdsa-sha2-nistp521",
            "ecdsa-sha2-nistp521-cert-v01@openssh.com", "nistp521", NID_secp521r1, "SHA512", 521},
    TypeRow{KeyType::kSkEcdsa256, Family::kEcdsa, true, "sk-ecdsa-sha2-nistp256@openssh.com",
            "sk-ecdsa-sha2-nistp256-cert-v01@openssh.com", "nistp256", NID_X9_62_prime256v1, "SHA256", 256},
    TypeRow{KeyType::kRsa, Family::kRsa, false, "ssh-rsa", "ssh-rsa-cert-v01@openssh.com", "", 0, nullptr, 0},
};

constexpr unsigned kMaxRsaBits = 16384; // what OpenSSH reads
constexpr std::size_t kMaxCommentSize = 1024;
constexpr std::size_t kMaxLineSize = kMaxBlobSize / 3 * 4 + kMaxCommentSize + 64;
constexpr std::uint8_t kUserPresent = 0x01;

const TypeRow& row_of(KeyType type) {
    return kTypes[static_cast<std::size_t>(type) - 1];
}

const TypeRow* find_row(std::string_view TypeRow::*column, std::string_view name) {
    const auto found = std::ranges::find(kTypes, name, column);
    return found == kTypes.end() ? nullptr : &*found;
}

Failure malformed(std::string message) {
    return fail(Code::kMalformed, std::move(message));
}

Failure unknown_type(std::string_view name) {
    if (name == "ssh-dss" || name == "ssh-dss-cert-v01@openssh.com") {
        return fail(Code::kUnsupported, "DSA keys are broken and refused everywhere",
                    "make a new key: ssh-keygen -t ed25519");
    }
    if (find_row(&TypeRow::cert_name, name) != nullptr) {
        return fail(Code::kUnsupported, "this is a certificate, not a plain public key",
                    "give the .pub file whose name does not end in -cert.pub");
    }
    return fail(Code::kUnsupported, "unknown key type",
                "use an ed25519, sk-ed25519, ecdsa, sk-ecdsa or RSA key");
}

const EC_GROUP* group_of(int nid) {
    static const EC_GROUP* const p256 = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
    static const EC_GROUP* const p384 = EC_GROUP_new_by_curve_name(NID_secp384r1);
    static const EC_GROUP* const p521 = EC_GROUP_new_by_curve_name(NID_secp521r1);
    return nid == NID_X9_62_prime256v1 ? p256 : nid == NID_secp384r1 ? p384 : p521;
}

bool is_on_curve(const TypeRow& row, ByteView point) {
    const std::size_t coordinate = (row.bits + 7) / 8;
    if (point.size() != 1 + 2 * coordinate || point.front() != 4) return false; // uncompressed only
    const EC_GROUP* group = group_of(row.curve_nid);
    const EcPointHandle parsed(EC_POINT_new(group));
    const bool good =
        parsed && EC_POINT_oct2point(group, parsed.get(), point.data(), point.size(), nullptr) == 1;
    ERR_clear_error();
    return good;
}

// The fields after the type name, checked; they point into what the reader reads.
struct Fields {
    ByteView point;    // Edwards and ECDSA
    ByteView exponent; // RSA
    ByteView modulus;
    ByteView application; // security keys
};

Result<Fields> read_fields(const TypeRow& row, wire::Reader& reader) {
    Fields fields;
    if (row.family == Family::kRsa) {
        LK_TRY(exponent, reader.mpint(kMaxRsaBits / 8 + 1));
        LK_TRY(modulus, reader.mpint(kMaxRsaBits / 8 + 1));
        if (modulus.size() > kMaxRsaBits / 8) return malformed("RSA modulus over 16384 bits");
        if (modulus.empty() || exponent.empty()) return malformed("RSA key with a zero in it");
        fields.exponent = exponent;
        fields.modulus = modulus;
        return fields;
    }
    if (row.family == Family::kEcdsa) {
        LK_TRY(curve, reader.text());
        if (curve != row.curve) return malformed("ECDSA key whose curve does not fit its type");
    }
    LK_TRY(point, reader.string());
    if (row.family == Family::kEcdsa && !is_on_curve(row, point))
        return malformed("ECDSA point that is not on its curve");
    if (row.family == Family::kEdwards && point.size() != 32)
        return malformed("ed25519 key that is not 32 bytes long");
    fields.point = point;
    if (row.security_key) {
        LK_TRY(application, reader.string());
        fields.application = application;
    }
    return fields;
}

// The fields of a blob that from_blob() has accepted.
Fields fields_of(const PublicKey& key) {
    wire::Reader reader(key.fields());
    return *read_fields(row_of(key.type()), reader);
}

PkeyHandle make_verification_key(const TypeRow& row, const Fields& fields) {
    if (row.family == Family::kEdwards) {
        return PkeyHandle(EVP_PKEY_new_raw_public_key_ex(nullptr, "ED25519", nullptr, fields.point.data(),
                                                         fields.point.size()));
    }
    const ParamsBuilderHandle builder(OSSL_PARAM_BLD_new());
    if (!builder) return nullptr;
    if (row.family == Family::kEcdsa) {
        const char* group = OBJ_nid2sn(row.curve_nid);
        OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME, group, 0);
        OSSL_PARAM_BLD_push_octet_string(builder.get(), OSSL_PKEY_PARAM_PUB_KEY, fields.point.data(),
                                         fields.point.size());
        return make_pkey("EC", EVP_PKEY_PUBLIC_KEY, builder.get());
    }
    const BignumHandle modulus = to_bignum(fields.modulus);
    const BignumHandle exponent = to_bignum(fields.exponent);
    OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, modulus.get());
    OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_E, exponent.get());
    return make_pkey("RSA", EVP_PKEY_PUBLIC_KEY, builder.get());
}

// SSH's "mpint r, mpint s" -> the DER that OpenSSL wants; empty where it does not parse.
Bytes ecdsa_der(ByteView signature) {
    wire::Reader reader(signature);
    const auto r = reader.mpint();
    const auto s = reader.mpint();
    if (!r || !s || !reader.at_end() || r->size() > 66 || s->size() > 66) return {};
    const EcdsaSignatureHandle pair(ECDSA_SIG_new());
    if (!pair) return {};
    ECDSA_SIG_set0(pair.get(), to_bignum(*r).release(), to_bignum(*s).release());
    Bytes der(160);
    std::uint8_t* end = der.data();
    const int size = i2d_ECDSA_SIG(pair.get(), &end);
    if (size <= 0) return {};
    der.resize(static_cast<std::size_t>(size));
    return der;
}

Failure bad_signature(std::string message) {
    ERR_clear_error();
    return fail(Code::kBadSignature, std::move(message));
}

// The digest that a signature algorithm uses with this key; the name checks the algorithm on the way.
Result<const char*> digest_for(const TypeRow& row, std::string_view algorithm) {
    if (row.family != Family::kRsa) {
        if (algorithm != row.name)
            return bad_signature("signature algorithm that does not fit the key's type");
        return row.digest;
    }
    if (algorithm == "rsa-sha2-512") return "SHA512";
    if (algorithm == "rsa-sha2-256") return "SHA256";
    if (algorithm == "ssh-rsa") return bad_signature("RSA signature with SHA-1, which is refused");
    return bad_signature("signature algorithm that does not fit the key's type");
}

} // namespace

std::string_view type_name(KeyType type) {
    return row_of(type).name;
}

std::string_view cert_type_name(KeyType type) {
    return row_of(type).cert_name;
}

Result<PublicKey> PublicKey::from_blob(ByteView blob) {
    if (blob.size() > kMaxBlobSize) return fail(Code::kTooLarge, "public key over 16 KiB");
    wire::Reader reader(blob);
    LK_TRY(name, reader.text());
    const TypeRow* row = find_row(&TypeRow::name, name);
    if (row == nullptr) return unknown_type(name);
    LK_CHECK(read_fields(*row, reader));
    LK_CHECK(reader.expect_end());
    PublicKey key;
    key.type_ = row->type;
    key.blob_ = to_bytes(blob);
    return key;
}

Result<PublicKey> PublicKey::from_certificate_fields(std::string_view certificate_type,
                                                     wire::Reader& reader) {
    const TypeRow* row = find_row(&TypeRow::cert_name, certificate_type);
    if (row == nullptr) return fail(Code::kUnsupported, "not a certificate of a type that we know");
    const ByteView before = reader.rest();
    LK_CHECK(read_fields(*row, reader));
    const ByteView taken = before.first(before.size() - reader.rest().size());
    if (taken.size() + row->name.size() + 4 > kMaxBlobSize)
        return fail(Code::kTooLarge, "public key over 16 KiB");
    wire::Writer writer;
    writer.reserve(4 + row->name.size() + taken.size());
    writer.string(row->name);
    writer.raw(taken);
    PublicKey key;
    key.type_ = row->type;
    key.blob_ = writer.take();
    return key;
}

Result<PublicKey> PublicKey::from_line(std::string_view line) {
    static constexpr std::string_view blank = " \t";
    if (line.size() > kMaxLineSize) return fail(Code::kTooLarge, "public key line over its limit");
    while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.remove_suffix(1);
    if (std::ranges::any_of(as_bytes(line),
                            [](std::uint8_t c) { return (c < ' ' && c != '\t') || c == 0x7f; }))
        return malformed("public key line with control characters, or more than one line");
    line.remove_prefix(std::min(line.find_first_not_of(blank), line.size()));

    const std::string_view name = line.substr(0, line.find_first_of(blank));
    if (name.starts_with("-----BEGIN")) {
        return fail(Code::kMalformed, "this is no public key line",
                    "give the .pub file, and never hand out a private key");
    }
    if (find_row(&TypeRow::name, name) == nullptr) {
        if (name.starts_with("ssh-") || name.starts_with("sk-") || name.starts_with("ecdsa-"))
            return unknown_type(name);
        return fail(Code::kMalformed, "a public key line begins with its type; options before it are refused",
                    "give the line of the .pub file as ssh-keygen wrote it");
    }
    line.remove_prefix(name.size());
    line.remove_prefix(std::min(line.find_first_not_of(blank), line.size()));
    const std::string_view base64 = line.substr(0, line.find_first_of(blank));
    line.remove_prefix(base64.size());
    line.remove_prefix(std::min(line.find_first_not_of(blank), line.size()));

    LK_TRY(blob, from_base64(base64));
    LK_TRY(key, from_blob(blob));
    if (type_name(key.type()) != name) return malformed("public key line whose type is not its key's");
    if (line.size() > kMaxCommentSize) return fail(Code::kTooLarge, "public key comment over 1 KiB");
    key.comment_ = std::string(line);
    return key;
}

ByteView PublicKey::fields() const {
    return ByteView(blob_).subspan(4 + type_name(type_).size());
}

Fingerprint PublicKey::fingerprint() const {
    return *Fingerprint::parse("SHA256:" + to_base64(sha256(blob_), Padding::kWithout));
}

std::string PublicKey::line() const {
    return std::string(type_name(type_)) + " " + to_base64(blob_);
}

unsigned PublicKey::bits() const {
    if (type_ != KeyType::kRsa) return row_of(type_).bits;
    const ByteView modulus = fields_of(*this).modulus;
    unsigned bits = static_cast<unsigned>(modulus.size()) * 8;
    for (std::uint8_t top = modulus.front(); (top & 0x80) == 0; top = static_cast<std::uint8_t>(top << 1))
        --bits;
    return bits;
}

ByteView PublicKey::raw_ed25519() const {
    return type_ == KeyType::kEd25519 ? fields().subspan(4) : ByteView();
}

Status PublicKey::verify(ByteView signature_blob, ByteView data) const {
    const TypeRow& row = row_of(type_);
    wire::Reader reader(signature_blob);
    const auto algorithm = reader.text();
    const auto raw_signature = reader.string();
    if (!algorithm || !raw_signature) return bad_signature("signature that does not parse");
    LK_TRY(digest, digest_for(row, *algorithm));

    const Fields fields = fields_of(*this);
    Bytes sk_data; // PROTOCOL.u2f: what the authenticator signs in place of the data
    if (row.security_key) {
        const ByteView tail = reader.rest();
        const auto flags = reader.u8();
        const auto counter = reader.u32();
        if (!flags || !counter) return bad_signature("security key signature without flags and counter");
        if ((*flags & kUserPresent) == 0)
            return bad_signature("security key signature made without a touch (user presence)");
        const Sha256 application = sha256(fields.application);
        const Sha256 message = sha256(data);
        wire::Writer writer;
        writer.raw(application);
        writer.raw(tail.first(5));
        writer.raw(message);
        sk_data = writer.take();
        data = sk_data;
    }
    if (!reader.at_end()) return bad_signature("signature with bytes left over");

    const PkeyHandle pkey = make_verification_key(row, fields);
    if (!pkey) return bad_signature("key that OpenSSL does not take");
    Bytes converted;
    ByteView signature = *raw_signature;
    if (row.family == Family::kEcdsa) {
        converted = ecdsa_der(signature);
        signature = converted;
    } else if (row.family == Family::kRsa) {
        const auto size = static_cast<std::size_t>(EVP_PKEY_get_size(pkey.get()));
        if (signature.size() > size) return bad_signature("RSA signature longer than its key");
        if (signature.size() < size) { // some signers drop leading zeros, and OpenSSH takes that
            converted.resize(size);
            std::ranges::copy_backward(signature, converted.end());
            signature = converted;
        }
    }
    const DigestContextHandle context(EVP_MD_CTX_new());
    const bool good =
        context &&
        EVP_DigestVerifyInit_ex(context.get(), nullptr, digest, nullptr, nullptr, pkey.get(), nullptr) == 1 &&
        EVP_DigestVerify(context.get(), signature.data(), signature.size(), data.data(), data.size()) == 1;
    ERR_clear_error();
    if (!good) return bad_signature("signature that does not verify");
    return {};
}

} // namespace latchkey::keys
