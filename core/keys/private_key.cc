// SPDX-License-Identifier: Apache-2.0
#include "core/keys/private_key.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>

#include <algorithm>
#include <cstring>

#include "core/keys/openssl.h"
#include "core/wire/reader.h"
#include "core/wire/writer.h"

namespace latchkey::keys {

struct PrivateKey::State {
    PkeyHandle pkey;
    PublicKey public_key;
    // Set up once, copied by each sign(): EVP_DigestSignInit costs more than the copy, and a context that has
    // signed may not sign again in newer OpenSSL.
    DigestContextHandle signer;
};

namespace {

constexpr std::size_t kMaxPemSize = 64 * 1024;
constexpr unsigned kMinRsaBits = 2048;
constexpr unsigned kMaxPrivateRsaBits = 8192;
constexpr std::string_view kHeader = "-----BEGIN OPENSSH PRIVATE KEY-----";
constexpr std::string_view kFooter = "-----END OPENSSH PRIVATE KEY-----";
constexpr std::string_view kMagic{"openssh-key-v1\0", 15};
constexpr std::string_view kCurve = "nistp256";

Failure malformed_private(std::string message) {
    ERR_clear_error();
    return fail(Code::kMalformed, std::move(message));
}

Failure encrypted() {
    return fail(Code::kUnsupported, "the private key has a passphrase",
                "take it off, file permissions protect the key: ssh-keygen -p -N '' -f FILE");
}

Failure wrong_type() {
    return fail(Code::kUnsupported, "private key of a type that we do not sign with",
                "use ed25519, ECDSA P-256 or RSA of 2048 to 8192 bits");
}

BignumHandle bignum_of(const EVP_PKEY* pkey, const char* name) {
    BIGNUM* number = nullptr;
    EVP_PKEY_get_bn_param(pkey, name, &number);
    return BignumHandle(number);
}

SecretBytes secret_of(const EVP_PKEY* pkey, const char* name) {
    const BignumHandle number = bignum_of(pkey, name);
    return number ? SecretBytes::adopt(from_bignum(number.get())) : SecretBytes();
}

// The SSH blob of an OpenSSL key of a type of ours.
Result<PublicKey> public_half(const EVP_PKEY* pkey) {
    wire::Writer writer;
    switch (EVP_PKEY_get_base_id(pkey)) {
        case EVP_PKEY_ED25519: {
            std::array<std::uint8_t, 32> raw{};
            std::size_t size = raw.size();
            if (EVP_PKEY_get_raw_public_key(pkey, raw.data(), &size) != 1)
                return malformed_private("ed25519 key that OpenSSL cannot show");
            writer.string(type_name(KeyType::kEd25519));
            writer.string(ByteView(raw));
            break;
        }
        case EVP_PKEY_EC: {
            char group[64] = {};
            EVP_PKEY_get_utf8_string_param(pkey, OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof group, nullptr);
            const BignumHandle x = bignum_of(pkey, OSSL_PKEY_PARAM_EC_PUB_X);
            const BignumHandle y = bignum_of(pkey, OSSL_PKEY_PARAM_EC_PUB_Y);
            ERR_clear_error();
            if (std::string_view(group) != "prime256v1" || !x || !y) return wrong_type();
            std::array<std::uint8_t, 65> point{4};
            BN_bn2binpad(x.get(), point.data() + 1, 32);
            BN_bn2binpad(y.get(), point.data() + 33, 32);
            writer.string(type_name(KeyType::kEcdsa256));
            writer.string(kCurve);
            writer.string(ByteView(point));
            break;
        }
        case EVP_PKEY_RSA: {
            const int bits = EVP_PKEY_get_bits(pkey);
            if (bits < static_cast<int>(kMinRsaBits) || bits > static_cast<int>(kMaxPrivateRsaBits))
                return wrong_type();
            const BignumHandle modulus = bignum_of(pkey, OSSL_PKEY_PARAM_RSA_N);
            const BignumHandle exponent = bignum_of(pkey, OSSL_PKEY_PARAM_RSA_E);
            if (!modulus || !exponent) return malformed_private("RSA key that OpenSSL cannot show");
            writer.string(type_name(KeyType::kRsa));
            writer.mpint(from_bignum(exponent.get()));
            writer.mpint(from_bignum(modulus.get()));
            break;
        }
        default:
            return wrong_type();
    }
    return PublicKey::from_blob(writer.bytes());
}

Result<PkeyHandle> read_ed25519(wire::Reader& reader) {
    LK_TRY(point, reader.string());
    LK_TRY(seed_and_point, reader.string());
    if (seed_and_point.size() != 64 || !equal(seed_and_point.subspan(32), point))
        return malformed_private("ed25519 private key whose halves do not fit");
    return PkeyHandle(
        EVP_PKEY_new_raw_private_key_ex(nullptr, "ED25519", nullptr, seed_and_point.data(), 32));
}

Result<PkeyHandle> read_ecdsa(wire::Reader& reader) {
    LK_TRY(curve, reader.text());
    LK_TRY(point, reader.string());
    LK_TRY(scalar, reader.mpint());
    if (curve != kCurve) return wrong_type();
    const ParamsBuilderHandle builder(OSSL_PARAM_BLD_new());
    const BignumHandle secret = to_bignum(scalar);
    BN_set_flags(secret.get(), BN_FLG_CONSTTIME);
    OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0);
    OSSL_PARAM_BLD_push_octet_string(builder.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size());
    OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_PRIV_KEY, secret.get());
    return make_pkey("EC", EVP_PKEY_KEYPAIR, builder.get());
}

// d mod (prime - 1): the part of the CRT form that OpenSSH does not store.
BignumHandle crt_exponent(const BIGNUM* d, const BIGNUM* prime) {
    const BignumContextHandle context(BN_CTX_secure_new());
    const BignumHandle less_one(BN_dup(prime));
    BignumHandle remainder(BN_secure_new());
    BignumHandle constant_time(BN_dup(d));
    BN_set_flags(constant_time.get(), BN_FLG_CONSTTIME);
    if (BN_sub_word(less_one.get(), 1) != 1 ||
        BN_mod(remainder.get(), constant_time.get(), less_one.get(), context.get()) != 1) {
        return nullptr;
    }
    return remainder;
}

Result<PkeyHandle> read_rsa(wire::Reader& reader) {
    static constexpr std::array names = {OSSL_PKEY_PARAM_RSA_N,       OSSL_PKEY_PARAM_RSA_E,
                                         OSSL_PKEY_PARAM_RSA_D,       OSSL_PKEY_PARAM_RSA_COEFFICIENT1,
                                         OSSL_PKEY_PARAM_RSA_FACTOR1, OSSL_PKEY_PARAM_RSA_FACTOR2};
    const ParamsBuilderHandle builder(OSSL_PARAM_BLD_new());
    std::array<BignumHandle, names.size()> numbers;
    for (std::size_t i = 0; i < names.size(); ++i) {
        LK_TRY(magnitude, reader.mpint(kMaxPrivateRsaBits / 8 + 1));
        if (magnitude.empty() || (magnitude.size() == 1 && magnitude.front() <= 1))
            return malformed_private("RSA private key with a zero in it");
        numbers[i] = to_bignum(magnitude);
        OSSL_PARAM_BLD_push_BN(builder.get(), names[i], numbers[i].get());
    }
    if (BN_is_odd(numbers[0].get()) == 0) return malformed_private("RSA private key with an even modulus");
    const BignumHandle for_p = crt_exponent(numbers[2].get(), numbers[4].get());
    const BignumHandle for_q = crt_exponent(numbers[2].get(), numbers[5].get());
    if (!for_p || !for_q) return malformed_private("RSA private key that does not compute");
    OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_EXPONENT1, for_p.get());
    OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_EXPONENT2, for_q.get());
    return make_pkey("RSA", EVP_PKEY_KEYPAIR, builder.get());
}

Result<PkeyHandle> read_by_type(std::string_view type, wire::Reader& reader) {
    if (type == type_name(KeyType::kEd25519)) return read_ed25519(reader);
    if (type == type_name(KeyType::kEcdsa256)) return read_ecdsa(reader);
    if (type == type_name(KeyType::kRsa)) return read_rsa(reader);
    return wrong_type();
}

// PROTOCOL.key: comment, then the bytes 1, 2, 3 … up to a multiple of 8.
Status check_padding(wire::Reader& reader) {
    LK_CHECK(reader.string()); // the comment
    const ByteView padding = reader.rest();
    if (padding.size() >= 8) return malformed_private("private key with bytes left over");
    for (std::size_t i = 0; i < padding.size(); ++i) {
        if (padding[i] != i + 1) return malformed_private("private key with wrong padding");
    }
    return {};
}

// The base64 between header and footer, decoded; every copy on the way is wiped.
Result<SecretBytes> decode_armour(std::string_view text) {
    text.remove_prefix(kHeader.size());
    const std::size_t end = text.find(kFooter);
    if (end == std::string_view::npos) return malformed_private("private key without its END line");
    SecretBytes base64(end);
    std::size_t size = 0;
    for (const char c : text.substr(0, end)) {
        if (c != '\n' && c != '\r') base64.writable()[size++] = static_cast<std::uint8_t>(c);
    }
    LK_TRY(raw, from_base64(as_text(base64.view().first(size))));
    return SecretBytes::adopt(std::move(raw));
}

Result<PkeyHandle> read_openssh(std::string_view text) {
    LK_TRY(raw, decode_armour(text));
    wire::Reader reader(raw.view());
    const auto magic = reader.raw(kMagic.size());
    if (!magic || as_text(*magic) != kMagic) return malformed_private("private key without OpenSSH's magic");
    LK_TRY(cipher, reader.text());
    LK_TRY(kdf, reader.text());
    LK_CHECK(reader.string()); // options of the kdf
    if (cipher != "none" || kdf != "none") return encrypted();
    LK_TRY(count, reader.u32());
    if (count != 1) return malformed_private("private key file that does not hold exactly one key");
    LK_TRY(blob, reader.string());
    LK_TRY(inner, reader.string());
    LK_CHECK(reader.expect_end());

    wire::Reader secret(inner);
    LK_TRY(check, secret.u32());
    LK_TRY(check_again, secret.u32());
    if (check != check_again || inner.size() % 8 != 0)
        return malformed_private("private key that is damaged");
    LK_TRY(type, secret.text());
    LK_TRY(pkey, read_by_type(type, secret));
    if (!pkey) return openssl_failure(Code::kMalformed, "private key that OpenSSL does not take");
    LK_CHECK(check_padding(secret));
    LK_TRY(half, public_half(pkey.get()));
    if (!equal(half.blob(), blob)) return malformed_private("private key whose public half is another's");
    return pkey;
}

int note_passphrase(char* /*buffer*/, int /*size*/, int /*writing*/, void* asked) {
    *static_cast<bool*>(asked) = true;
    return -1;
}

Result<PkeyHandle> read_pkcs8(ByteView pem) {
    const BioHandle bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
    bool asked = false;
    PkeyHandle pkey(PEM_read_bio_PrivateKey(bio.get(), nullptr, note_passphrase, &asked));
    ERR_clear_error();
    if (asked) return encrypted();
    if (!pkey) {
        return fail(Code::kMalformed, "this is no private key in OpenSSH's or PKCS#8 form",
                    "make one: ssh-keygen -t ed25519 -N '' -f FILE");
    }
    return pkey;
}

void write_secret(wire::Writer& writer, const EVP_PKEY* pkey, const char* name) {
    writer.mpint(secret_of(pkey, name).view());
}

// The type's private fields, in the order of PROTOCOL.key; false where OpenSSL does not give them.
bool write_private_fields(wire::Writer& writer, const EVP_PKEY* pkey, const PublicKey& public_key) {
    switch (public_key.type()) {
        case KeyType::kEd25519: {
            SecretBytes both(64);
            std::size_t size = 32;
            if (EVP_PKEY_get_raw_private_key(pkey, both.writable().data(), &size) != 1) return false;
            std::ranges::copy(public_key.raw_ed25519(), both.writable().subspan(32).begin());
            writer.string(public_key.raw_ed25519());
            writer.string(both.view());
            return true;
        }
        case KeyType::kEcdsa256:
            writer.raw(public_key.fields());
            write_secret(writer, pkey, OSSL_PKEY_PARAM_PRIV_KEY);
            return true;
        case KeyType::kRsa:
            for (const char* name :
                 {OSSL_PKEY_PARAM_RSA_N, OSSL_PKEY_PARAM_RSA_E, OSSL_PKEY_PARAM_RSA_D,
                  OSSL_PKEY_PARAM_RSA_COEFFICIENT1, OSSL_PKEY_PARAM_RSA_FACTOR1, OSSL_PKEY_PARAM_RSA_FACTOR2})
                write_secret(writer, pkey, name);
            return true;
        default:
            return false;
    }
}

std::string_view algorithm_of(KeyType type) {
    return type == KeyType::kRsa ? "rsa-sha2-512" : type_name(type);
}

// An RSA key has its secret twice, as d and in CRT form, and OpenSSL signs with either: all numbers must fit.
bool is_consistent_rsa(EVP_PKEY* pkey) {
    const PkeyContextHandle context(EVP_PKEY_CTX_new_from_pkey(nullptr, pkey, nullptr));
    const bool good = context && EVP_PKEY_pairwise_check(context.get()) == 1;
    ERR_clear_error();
    return good;
}

const char* digest_of(KeyType type) {
    if (type == KeyType::kRsa) return "SHA512";
    return type == KeyType::kEcdsa256 ? "SHA256" : nullptr;
}

} // namespace

PrivateKey::PrivateKey(std::unique_ptr<State> state) : state_(std::move(state)) {}
PrivateKey::PrivateKey(PrivateKey&&) noexcept = default;
PrivateKey& PrivateKey::operator=(PrivateKey&&) noexcept = default;
PrivateKey::~PrivateKey() = default;

Result<PrivateKey> PrivateKey::adopt(evp_pkey_st* owned) {
    auto state = std::make_unique<State>();
    state->pkey.reset(owned);
    LK_TRY(public_key, public_half(owned));
    state->public_key = std::move(public_key);
    if (state->public_key.type() == KeyType::kRsa && !is_consistent_rsa(owned))
        return malformed_private("RSA private key whose numbers do not fit");
    state->signer.reset(EVP_MD_CTX_new());
    if (!state->signer ||
        EVP_DigestSignInit_ex(state->signer.get(), nullptr, digest_of(state->public_key.type()), nullptr,
                              nullptr, owned, nullptr) != 1) {
        return openssl_failure(Code::kInternal, "OpenSSL does not sign with this key");
    }
    PrivateKey key(std::move(state));
    // One signature at the start: a key whose halves do not belong together is noticed here, not at a login.
    static constexpr std::string_view probe = "latchkey-self-test";
    const auto signature = key.sign(as_bytes(probe));
    if (!signature || !key.public_key().verify(*signature, as_bytes(probe)))
        return malformed_private("private key whose halves do not belong together");
    return key;
}

Result<PrivateKey> PrivateKey::generate(KeyType type, unsigned rsa_bits) {
    EVP_PKEY* pkey = nullptr;
    switch (type) {
        case KeyType::kEd25519:
            pkey = EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519");
            break;
        case KeyType::kEcdsa256:
            pkey = EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256");
            break;
        case KeyType::kRsa:
            if (rsa_bits < kMinRsaBits || rsa_bits > kMaxPrivateRsaBits)
                return fail(Code::kUsage, "RSA keys have 2048 to 8192 bits");
            pkey = EVP_PKEY_Q_keygen(nullptr, nullptr, "RSA", static_cast<std::size_t>(rsa_bits));
            break;
        default:
            return wrong_type();
    }
    if (pkey == nullptr) return openssl_failure(Code::kInternal, "OpenSSL makes no key");
    return adopt(pkey);
}

Result<PrivateKey> PrivateKey::from_pem(ByteView pem) {
    if (pem.size() > kMaxPemSize) return fail(Code::kTooLarge, "private key file over 64 KiB");
    const std::size_t start = as_text(pem).find(kHeader);
    LK_TRY(pkey,
           start == std::string_view::npos ? read_pkcs8(pem) : read_openssh(as_text(pem.subspan(start))));
    return adopt(pkey.release());
}

SecretBytes PrivateKey::to_openssh_pem(std::string_view comment) const {
    static constexpr std::size_t line_length = 70; // as ssh-keygen breaks them
    const PublicKey& half = public_key();
    // Reserved in full: a buffer that grew would leave key material behind in freed memory.
    const std::size_t room = 8 * half.blob().size() + comment.size() + 512;
    wire::Writer inner;
    inner.reserve(room);
    std::array<std::uint8_t, 4> check{};
    if (RAND_bytes(check.data(), static_cast<int>(check.size())) != 1) return {};
    inner.raw(check);
    inner.raw(check);
    inner.string(type_name(half.type()));
    if (!write_private_fields(inner, native(), half)) return {};
    inner.string(comment);
    for (std::uint8_t pad = 1; inner.bytes().size() % 8 != 0; ++pad) inner.u8(pad);
    const SecretBytes secret = SecretBytes::adopt(inner.take());

    wire::Writer outer;
    outer.reserve(room + half.blob().size() + 128);
    outer.raw(as_bytes(kMagic));
    outer.string("none");
    outer.string("none");
    outer.string("");
    outer.u32(1);
    outer.string(half.blob());
    outer.string(secret.view());
    const SecretBytes raw = SecretBytes::adopt(outer.take());

    std::string base64 = to_base64(raw.view());
    Bytes pem;
    pem.reserve(base64.size() + base64.size() / line_length + kHeader.size() + kFooter.size() + 8);
    const auto append = [&pem](std::string_view text) {
        pem.insert(pem.end(), text.begin(), text.end());
        pem.push_back('\n');
    };
    append(kHeader);
    for (std::size_t i = 0; i < base64.size(); i += line_length)
        append(std::string_view(base64).substr(i, line_length));
    append(kFooter);
    wipe({reinterpret_cast<std::uint8_t*>(base64.data()), base64.size()});
    return SecretBytes::adopt(std::move(pem));
}

const PublicKey& PrivateKey::public_key() const {
    return state_->public_key;
}

Result<Bytes> PrivateKey::sign(ByteView data) const {
    const KeyType type = state_->public_key.type();
    const DigestContextHandle context(EVP_MD_CTX_new());
    std::array<std::uint8_t, kMaxPrivateRsaBits / 8> buffer;
    std::size_t size = buffer.size();
    if (!context || EVP_MD_CTX_copy_ex(context.get(), state_->signer.get()) != 1 ||
        EVP_DigestSign(context.get(), buffer.data(), &size, data.data(), data.size()) != 1) {
        return openssl_failure(Code::kInternal, "OpenSSL does not sign");
    }
    const ByteView signature(buffer.data(), size);
    const std::string_view algorithm = algorithm_of(type);
    wire::Writer writer;
    writer.reserve(8 + algorithm.size() + size + 16);
    writer.string(algorithm);
    if (type != KeyType::kEcdsa256) {
        writer.string(signature);
        return writer.take();
    }
    const std::uint8_t* der = signature.data();
    const EcdsaSignatureHandle pair(d2i_ECDSA_SIG(nullptr, &der, static_cast<long>(size)));
    if (!pair) return openssl_failure(Code::kInternal, "OpenSSL's ECDSA signature does not parse");
    wire::Writer numbers;
    numbers.mpint(from_bignum(ECDSA_SIG_get0_r(pair.get())));
    numbers.mpint(from_bignum(ECDSA_SIG_get0_s(pair.get())));
    writer.string(numbers.bytes());
    return writer.take();
}

evp_pkey_st* PrivateKey::native() const {
    return state_->pkey.get();
}

} // namespace latchkey::keys
