// SPDX-License-Identifier: Apache-2.0
// PublicKey::check_strength: which well-formed keys we refuse all the same, each with its own message.
#include <openssl/bn.h>

#include <algorithm>
#include <array>

#include "core/keys/openssl.h"
#include "core/keys/public_key.h"
#include "core/keys/weak_keys.h"
#include "core/wire/reader.h"

namespace latchkey::keys {
namespace {

constexpr unsigned kLowestRsaBits = 2048; // whatever is configured
constexpr std::size_t kMaxExponentSize = 8;
constexpr int kFermatSteps = 256;
constexpr const char* kNewKey = "make a new key: ssh-keygen -t ed25519";

Failure weak(std::string message) {
    return fail(Code::kWeakKey, std::move(message), kNewKey);
}

BN_ULONG remainder(const BIGNUM* number, BN_ULONG divisor) {
    return BN_mod_word(number, divisor);
}

constexpr std::array kSmallPrimes = {3,   5,   7,   11,  13,  17,  19,  23,  29,  31,  37,  41,  43,
                                     47,  53,  59,  61,  67,  71,  73,  79,  83,  89,  97,  101, 103,
                                     107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167};

bool has_small_factor(const BIGNUM* modulus) {
    return BN_is_odd(modulus) == 0 || std::ranges::any_of(kSmallPrimes, [modulus](int prime) {
               return remainder(modulus, static_cast<BN_ULONG>(prime)) == 0;
           });
}

bool is_power_of_65537(unsigned value, unsigned prime) {
    unsigned power = 1;
    do {
        if (power == value) return true;
        power = power * 65537 % prime;
    } while (power != 1);
    return false;
}

// CVE-2017-15361 (ROCA): Infineon's primes are k * M + 65537^a mod M with M a product of the first primes, so
// the modulus is a power of 65537 modulo each of them. A random modulus passes all of these by chance once in
// 2^27.
bool has_roca_fingerprint(const BIGNUM* modulus) {
    return std::ranges::all_of(kSmallPrimes, [modulus](int prime) {
        const auto divisor = static_cast<unsigned>(prime);
        return is_power_of_65537(static_cast<unsigned>(remainder(modulus, divisor)), divisor);
    });
}

// The integer square root of a number above 0 by Newton's steps, from above.
BignumHandle square_root(const BIGNUM* number, BN_CTX* context) {
    BignumHandle root(BN_new());
    BignumHandle next(BN_new());
    BN_set_bit(root.get(), (BN_num_bits(number) + 1) / 2);
    while (true) {
        if (BN_div(next.get(), nullptr, number, root.get(), context) != 1) return nullptr;
        BN_add(next.get(), next.get(), root.get());
        BN_rshift1(next.get(), next.get());
        if (BN_cmp(next.get(), root.get()) >= 0) return root;
        std::swap(root, next);
    }
}

bool may_be_square(const BIGNUM* number) { // quick and sure "no" for nearly all others
    static constexpr std::array moduli = {64U, 63U, 65U, 11U, 17U};
    return std::ranges::all_of(moduli, [number](unsigned modulus) {
        const auto rest = static_cast<unsigned>(remainder(number, modulus));
        for (unsigned i = 0; i < modulus; ++i) {
            if (i * i % modulus == rest) return true;
        }
        return false;
    });
}

// Fermat: with N = a^2 - b^2 and primes close together, a is near the root of N (CVE-2022-26320 and others).
bool has_close_primes(const BIGNUM* modulus) {
    const BignumContextHandle context(BN_CTX_new());
    const BignumHandle a = square_root(modulus, context.get());
    const BignumHandle rest(BN_new()); // a^2 - N
    const BignumHandle square(BN_new());
    if (!a) return false;
    BN_sqr(rest.get(), a.get(), context.get());
    if (BN_cmp(rest.get(), modulus) < 0) {
        BN_add_word(a.get(), 1);
        BN_sqr(rest.get(), a.get(), context.get());
    }
    BN_sub(rest.get(), rest.get(), modulus);
    for (int step = 0; step < kFermatSteps; ++step) {
        if (BN_is_zero(rest.get())) return true; // N is a square itself
        if (may_be_square(rest.get())) {
            const BignumHandle b = square_root(rest.get(), context.get());
            if (!b) return false;
            BN_sqr(square.get(), b.get(), context.get());
            if (BN_cmp(square.get(), rest.get()) == 0) return true;
        }
        BN_add(rest.get(), rest.get(), a.get()); // (a + 1)^2 - N = rest + 2a + 1
        BN_add(rest.get(), rest.get(), a.get());
        BN_add_word(rest.get(), 1);
        BN_add_word(a.get(), 1);
    }
    return false;
}

Status check_rsa(ByteView exponent_bytes, ByteView modulus_bytes, unsigned bits, unsigned least) {
    if (bits < least) {
        return fail(Code::kWeakKey,
                    "RSA key of " + std::to_string(bits) + " bits; at least " + std::to_string(least) +
                        " are asked for",
                    kNewKey);
    }
    const BignumHandle exponent = to_bignum(exponent_bytes);
    const BignumHandle modulus = to_bignum(modulus_bytes);
    if (BN_is_odd(exponent.get()) == 0) return weak("RSA key with an even exponent");
    if (exponent_bytes.size() < 3)
        return weak("RSA key with an exponent below 65537"); // 65537 is odd: the least
    if (exponent_bytes.size() > kMaxExponentSize) return weak("RSA key with an exponent over 64 bits");
    if (has_small_factor(modulus.get())) return weak("RSA key whose modulus has a small factor");
    if (has_roca_fingerprint(modulus.get()))
        return weak("RSA key made by a broken Infineon chip (ROCA, CVE-2017-15361)");
    if (has_close_primes(modulus.get())) return weak("RSA key whose primes are too close together");
    return {};
}

// The points of order 1, 2, 4 and 8, in each encoding that a lenient verifier takes (the sign bit aside): a
// signature under such a key can be made by anybody.
bool is_small_order(ByteView point) {
    static constexpr std::array<std::string_view, 7> small = {
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"};
    Bytes unsigned_point = to_bytes(point);
    unsigned_point.back() &= 0x7f;
    return std::ranges::find(small, to_hex(unsigned_point)) != small.end();
}

// Of the MD5 fingerprint, which here is an index into a list and protects nothing.
std::string weak_list_tail(ByteView blob) {
    std::array<std::uint8_t, 16> digest{};
    if (EVP_Digest(blob.data(), blob.size(), digest.data(), nullptr, EVP_md5(), nullptr) != 1) return {};
    return to_hex(digest).substr(12);
}

} // namespace

Status PublicKey::check_strength(const StrengthRules& rules) const {
    wire::Reader reader(fields());
    if (type_ == KeyType::kRsa) {
        LK_TRY(exponent, reader.mpint());
        LK_TRY(modulus, reader.mpint());
        LK_CHECK(check_rsa(exponent, modulus, bits(), std::max(rules.min_rsa_bits, kLowestRsaBits)));
    } else if (type_ == KeyType::kEd25519 || type_ == KeyType::kSkEd25519) {
        LK_TRY(point, reader.string());
        if (is_small_order(point)) return weak("ed25519 key that is a point of small order");
    }
    if (rules.weak_keys != nullptr &&
        rules.weak_keys->contains(weak_list_name(*this), weak_list_tail(blob_))) {
        return weak("key on a published list of weak keys (Debian, CVE-2008-0166)");
    }
    return {};
}

} // namespace latchkey::keys
