// SPDX-License-Identifier: Apache-2.0
#include <openssl/bn.h>

#include "core/keys/openssh_for_tests.h"
#include "core/keys/weak_keys.h"

namespace latchkey::keys {
namespace {

PublicKey rsa_key(const BIGNUM* modulus, const Bytes& exponent = {1, 0, 1}) {
    wire::Writer writer;
    writer.string("ssh-rsa");
    writer.mpint(exponent);
    writer.mpint(from_bignum(modulus));
    return *PublicKey::from_blob(writer.bytes());
}

BignumHandle random_prime(int bits) {
    BignumHandle prime(BN_new());
    BN_generate_prime_ex(prime.get(), bits, 0, nullptr, nullptr, nullptr);
    return prime;
}

BignumHandle product(const BIGNUM* a, const BIGNUM* b) {
    const BignumContextHandle context(BN_CTX_new());
    BignumHandle result(BN_new());
    BN_mul(result.get(), a, b, context.get());
    return result;
}

// A modulus of full length with two random primes: what a good key has.
BignumHandle good_modulus() {
    while (true) {
        BignumHandle modulus = product(random_prime(1024).get(), random_prime(1024).get());
        if (BN_num_bits(modulus.get()) == 2048) return modulus;
    }
}

std::string refusal(const PublicKey& key, const StrengthRules& rules = {.min_rsa_bits = 2048}) {
    const Status status = key.check_strength(rules);
    if (status) return "";
    EXPECT_EQ(status.error().code, Code::kWeakKey);
    EXPECT_FALSE(status.error().next.empty());
    return status.error().message;
}

TEST(Strength, TakesGoodKeysOfEveryType) {
    const Workshop shop;
    int count = 0;
    for (const char* type :
         {"ed25519", "ecdsa -b 256", "ecdsa -b 384", "ecdsa -b 521", "rsa -b 3072", "rsa -b 4096"})
        EXPECT_TRUE(shop.make_key("k" + std::to_string(count++), type).check_strength()) << type;
}

TEST(Strength, RefusesShortRsaAndGoesNoLowerThan2048WhateverIsConfigured) {
    const Workshop shop;
    const PublicKey two = shop.make_key("two", "rsa -b 2048");
    const PublicKey one = shop.make_key("one", "rsa -b 1024");
    EXPECT_EQ(refusal(two, {}), "RSA key of 2048 bits; at least 3072 are asked for");
    EXPECT_EQ(refusal(two, {.min_rsa_bits = 2048}), "");
    EXPECT_EQ(refusal(one, {.min_rsa_bits = 1024}), "RSA key of 1024 bits; at least 2048 are asked for");
}

TEST(Strength, RefusesBadExponents) {
    const BignumHandle modulus = good_modulus();
    EXPECT_EQ(refusal(rsa_key(modulus.get())), "");
    EXPECT_EQ(refusal(rsa_key(modulus.get(), {3})), "RSA key with an exponent below 65537");
    EXPECT_EQ(refusal(rsa_key(modulus.get(), {0xff, 0xff})), "RSA key with an exponent below 65537");
    EXPECT_EQ(refusal(rsa_key(modulus.get(), {1, 0, 0})), "RSA key with an even exponent");
    EXPECT_EQ(refusal(rsa_key(modulus.get(), {1, 0, 3})), "");
    EXPECT_EQ(refusal(rsa_key(modulus.get(), Bytes(9, 0x7f))), "RSA key with an exponent over 64 bits");
}

TEST(Strength, RefusesSmallFactorsAndEvenModuli) {
    BignumHandle modulus = random_prime(2046);
    BN_mul_word(modulus.get(), 7);
    EXPECT_EQ(refusal(rsa_key(modulus.get())), "RSA key whose modulus has a small factor");
    modulus = random_prime(2047);
    BN_mul_word(modulus.get(), 2);
    EXPECT_EQ(refusal(rsa_key(modulus.get())), "RSA key whose modulus has a small factor");
}

// The chip's rule: a prime is k * M + 65537^a mod M, M the product of the first 71 primes (for 2048 bits:
// 126).
BignumHandle roca_like_prime(unsigned long a, int k_bits) {
    const BignumContextHandle context(BN_CTX_new());
    const BignumHandle m(BN_new());
    BN_one(m.get());
    int found = 0;
    for (unsigned candidate = 2; found < 71; ++candidate) {
        bool is_prime = true;
        for (unsigned divisor = 2; divisor * divisor <= candidate; ++divisor)
            is_prime &= candidate % divisor != 0;
        if (!is_prime) continue;
        BN_mul_word(m.get(), candidate);
        ++found;
    }
    const BignumHandle base(BN_new());
    const BignumHandle exponent(BN_new());
    const BignumHandle power(BN_new());
    BN_set_word(base.get(), 65537);
    BN_set_word(exponent.get(), a);
    BN_mod_exp(power.get(), base.get(), exponent.get(), m.get(), context.get());
    const BignumHandle k(BN_new());
    BN_rand(k.get(), k_bits, BN_RAND_TOP_TWO, BN_RAND_BOTTOM_ANY);
    BignumHandle prime = product(k.get(), m.get());
    BN_add(prime.get(), prime.get(), power.get());
    return prime;
}

TEST(Strength, RefusesTheFingerprintOfRoca) {
    const BignumHandle modulus =
        product(roca_like_prime(123'456, 700).get(), roca_like_prime(98'765, 700).get());
    ASSERT_GE(BN_num_bits(modulus.get()), 2048);
    EXPECT_EQ(refusal(rsa_key(modulus.get())),
              "RSA key made by a broken Infineon chip (ROCA, CVE-2017-15361)");
    // Its twin, a number that differs from it in one residue, is not of that form.
    BN_add_word(modulus.get(), 2);
    const std::string twin = refusal(rsa_key(modulus.get()));
    EXPECT_TRUE(twin.empty() || twin.find("small factor") != std::string::npos) << twin;
}

TEST(Strength, RefusesPrimesTooCloseTogether) {
    const BignumContextHandle context(BN_CTX_new());
    const BignumHandle p = random_prime(1024);
    BN_set_bit(p.get(), 1022);
    BignumHandle q(BN_dup(p.get()));
    do BN_add_word(q.get(), 2);
    while (BN_check_prime(q.get(), context.get(), nullptr) != 1);
    while (BN_check_prime(p.get(), context.get(), nullptr) != 1) BN_sub_word(p.get(), 2);
    EXPECT_EQ(refusal(rsa_key(product(p.get(), q.get()).get())),
              "RSA key whose primes are too close together");
    EXPECT_EQ(refusal(rsa_key(product(p.get(), p.get()).get())),
              "RSA key whose primes are too close together");
    // A gap of 2^515: some steps away from the root, still found.
    q.reset(BN_dup(p.get()));
    const BignumHandle gap(BN_new());
    BN_set_bit(gap.get(), 515);
    BN_add(q.get(), q.get(), gap.get());
    while (BN_check_prime(q.get(), context.get(), nullptr) != 1) BN_add_word(q.get(), 2);
    EXPECT_EQ(refusal(rsa_key(product(p.get(), q.get()).get())),
              "RSA key whose primes are too close together");
}

TEST(Strength, RefusesPointsOfSmallOrder) {
    for (const char* point : {"0100000000000000000000000000000000000000000000000000000000000000",
                              "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
                              "0000000000000000000000000000000000000000000000000000000000000080",
                              "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85"}) {
        wire::Writer writer;
        writer.string("ssh-ed25519");
        writer.string(*from_hex(point));
        EXPECT_EQ(refusal(*PublicKey::from_blob(writer.bytes())),
                  "ed25519 key that is a point of small order");
    }
}

// As the file of Debian's openssh-blacklist has it: the last 20 digits of what ssh-keygen -l -E md5 prints.
TEST(Strength, RefusesKeysOnAListOfWeakKeys) {
    const Workshop shop;
    const PublicKey listed = shop.make_key("listed", "rsa -b 2048");
    const PublicKey other = shop.make_key("other", "rsa -b 2048");
    std::string shown = shop.run("ssh-keygen -l -E md5 -f listed.pub").output;
    shown = shown.substr(shown.find("MD5:") + 4, 47);
    std::erase(shown, ':');

    WeakKeyLists lists;
    ASSERT_TRUE(lists.add("RSA-2048", "# a comment\nffffffffffffffffffff\n" + shown.substr(12) + "\n"));
    const StrengthRules rules{.min_rsa_bits = 2048, .weak_keys = &lists};
    EXPECT_EQ(refusal(listed, rules), "key on a published list of weak keys (Debian, CVE-2008-0166)");
    EXPECT_EQ(refusal(other, rules), "");
    EXPECT_EQ(refusal(listed), "") << "without a list there is no check";
    EXPECT_EQ(weak_list_name(listed), "RSA-2048");
}

TEST(WeakKeyLists, NameTheLineThatIsNotOne) {
    WeakKeyLists lists;
    const Status status = lists.add("RSA-2048", "# comment\n0123456789abcdef0123\nnot a line\n");
    ASSERT_FALSE(status);
    EXPECT_NE(status.error().message.find("line 3"), std::string::npos);
}

} // namespace
} // namespace latchkey::keys
