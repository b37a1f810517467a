// SPDX-License-Identifier: Apache-2.0
#include "core/keys/private_key.h"

#include <thread>
#include <vector>

#include "core/keys/openssh_for_tests.h"

namespace latchkey::keys {
namespace {

struct Kind {
    const char* arguments;
    KeyType type;
};
constexpr Kind kKinds[] = {
    {"ed25519", KeyType::kEd25519}, {"ecdsa -b 256", KeyType::kEcdsa256}, {"rsa -b 2048", KeyType::kRsa}};

void PrintTo(const Kind& kind, std::ostream* out) {
    *out << kind.arguments;
}

PrivateKey load(const Workshop& shop, const std::string& name) {
    auto key = PrivateKey::from_pem(as_bytes(shop.read(name)));
    EXPECT_TRUE(key) << key.error().line();
    return std::move(*key);
}

class PrivateKeyOf : public testing::TestWithParam<Kind> {};

TEST_P(PrivateKeyOf, MadeBySshKeygenIsReadAndSigns) {
    const Workshop shop;
    const PublicKey expected = shop.make_key("k", GetParam().arguments);
    const PrivateKey key = load(shop, "k");
    EXPECT_EQ(key.public_key(), expected);
    EXPECT_TRUE(expected.verify(*key.sign(as_bytes("data")), as_bytes("data")));
    EXPECT_FALSE(expected.verify(*key.sign(as_bytes("data")), as_bytes("other")));
}

TEST_P(PrivateKeyOf, MadeByUsIsReadBySshKeygen) {
    const Workshop shop;
    const PrivateKey key = *PrivateKey::generate(GetParam().type, 2048);
    shop.write("k", key.to_openssh_pem("our comment").view());
    const Outcome shown = shop.run("ssh-keygen -y -f k");
    EXPECT_EQ(shown.status, 0) << shown.output;
    EXPECT_EQ(shown.output, key.public_key().line() + " our comment\n");
    EXPECT_EQ(load(shop, "k").public_key(), key.public_key());
    // What ssh-keygen signs with it, we verify: the private half is right as well.
    shop.write("data", "hello");
    shop.write("signers", "me " + key.public_key().line() + "\n");
    shop.must_run("ssh-keygen -q -Y sign -n test -f k data");
    shop.must_run("ssh-keygen -q -Y verify -n test -I me -f signers -s data.sig < data");
}

TEST_P(PrivateKeyOf, RoundTripsThroughSshKeygensOwnRewrite) {
    const Workshop shop;
    const PrivateKey key = *PrivateKey::generate(GetParam().type, 2048);
    shop.write("k", key.to_openssh_pem("a").view());
    shop.must_run("ssh-keygen -q -c -C renamed -P '' -f k");
    EXPECT_EQ(load(shop, "k").public_key(), key.public_key());
}

TEST_P(PrivateKeyOf, InPkcs8AndOldPemFormIsRead) {
    const Workshop shop;
    const PublicKey expected = shop.make_key("k", GetParam().arguments);
    if (GetParam().type == KeyType::kEd25519) { // ssh-keygen writes no PKCS#8 for it
        shop.must_run("openssl genpkey -algorithm ed25519 -out k8");
        EXPECT_EQ(load(shop, "k8").public_key().type(), KeyType::kEd25519);
        return;
    }
    for (const char* form : {"PKCS8", "PEM"}) {
        shop.must_run(std::string("ssh-keygen -q -p -P '' -N '' -f k -m ") + form);
        EXPECT_EQ(load(shop, "k").public_key(), expected) << form;
    }
}

TEST_P(PrivateKeyOf, WithAPassphraseSaysHowToTakeItOff) {
    const Workshop shop;
    shop.make_key("k", GetParam().arguments);
    for (const char* form : {"RFC4716", "PKCS8"}) {
        if (GetParam().type == KeyType::kEd25519 && form[0] == 'P') continue;
        shop.must_run(std::string("ssh-keygen -q -p -P '' -N secret -f k -m ") + form);
        const auto refused = PrivateKey::from_pem(as_bytes(shop.read("k")));
        ASSERT_FALSE(refused) << form;
        EXPECT_EQ(refused.error().code, Code::kUnsupported);
        EXPECT_NE(refused.error().next.find("ssh-keygen -p"), std::string::npos);
        shop.must_run("ssh-keygen -q -p -P secret -N '' -f k");
    }
}

TEST_P(PrivateKeyOf, WhoseBytesAreChangedNeverSignsAsAnother) {
    const PrivateKey key = *PrivateKey::generate(GetParam().type, 2048);
    const SecretBytes pem = key.to_openssh_pem("");
    const std::size_t step = GetParam().type == KeyType::kRsa ? 41 : 7;
    for (std::size_t i = 0; i < pem.size(); i += step) {
        Bytes flipped = to_bytes(pem.view());
        flipped[i] = flipped[i] == 'A' ? 'B' : 'A';
        const auto read = PrivateKey::from_pem(flipped);
        EXPECT_TRUE(!read || read->public_key() == key.public_key()) << i;
        EXPECT_FALSE(PrivateKey::from_pem(pem.view().first(i))) << i;
    }
}

INSTANTIATE_TEST_SUITE_P(EveryType, PrivateKeyOf, testing::ValuesIn(kKinds), [](const auto& kind) {
    std::string name = kind.param.arguments;
    return name.substr(0, name.find(' '));
});

TEST(PrivateKey, OfATypeThatWeDoNotSignWithIsRefused) {
    const Workshop shop;
    shop.make_key("k", "ecdsa -b 384");
    EXPECT_EQ(PrivateKey::from_pem(as_bytes(shop.read("k"))).error().code, Code::kUnsupported);
    shop.must_run("ssh-keygen -q -p -P '' -N '' -f k -m PKCS8");
    EXPECT_EQ(PrivateKey::from_pem(as_bytes(shop.read("k"))).error().code, Code::kUnsupported);
    shop.make_key("short", "rsa -b 1024");
    EXPECT_EQ(PrivateKey::from_pem(as_bytes(shop.read("short"))).error().code, Code::kUnsupported);
    EXPECT_FALSE(PrivateKey::generate(KeyType::kSkEd25519));
    EXPECT_FALSE(PrivateKey::generate(KeyType::kRsa, 1024));
}

TEST(PrivateKey, ThatIsNoneIsRefused) {
    EXPECT_EQ(PrivateKey::from_pem(as_bytes("nothing")).error().code, Code::kMalformed);
    EXPECT_EQ(PrivateKey::from_pem({}).error().code, Code::kMalformed);
    EXPECT_EQ(PrivateKey::from_pem(Bytes(70'000)).error().code, Code::kTooLarge);
    const PrivateKey key = *PrivateKey::generate(KeyType::kEd25519);
    EXPECT_FALSE(PrivateKey::from_pem(as_bytes(key.public_key().line())));
}

TEST(PrivateKey, SignsFromSeveralThreadsAtOnce) {
    for (const Kind& kind : kKinds) {
        const PrivateKey key = *PrivateKey::generate(kind.type, 2048);
        std::vector<std::thread> threads;
        std::array<int, 4> verified{};
        for (int& count : verified) {
            threads.emplace_back([&key, &count] {
                for (int i = 0; i < 20; ++i) {
                    const std::string text = std::to_string(i);
                    const auto signature = key.sign(as_bytes(text));
                    if (signature && key.public_key().verify(*signature, as_bytes(text))) ++count;
                }
            });
        }
        for (std::thread& thread : threads) thread.join();
        for (const int count : verified) EXPECT_EQ(count, 20);
    }
}

} // namespace
} // namespace latchkey::keys
