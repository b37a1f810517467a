// SPDX-License-Identifier: Apache-2.0
#include "core/keys/public_key.h"

#include "core/keys/openssh_for_tests.h"

namespace latchkey::keys {
namespace {

struct Kind {
    const char* arguments; // of ssh-keygen -t
    KeyType type;
    unsigned bits;
};
constexpr Kind kKinds[] = {
    {"ed25519", KeyType::kEd25519, 256},       {"ecdsa -b 256", KeyType::kEcdsa256, 256},
    {"ecdsa -b 384", KeyType::kEcdsa384, 384}, {"ecdsa -b 521", KeyType::kEcdsa521, 521},
    {"rsa -b 2048", KeyType::kRsa, 2048},      {"rsa -b 3072", KeyType::kRsa, 3072}};

void PrintTo(const Kind& kind, std::ostream* out) {
    *out << kind.arguments;
}

class PublicKeyOf : public testing::TestWithParam<Kind> {};

TEST_P(PublicKeyOf, HasTheFingerprintAndLengthThatSshKeygenPrints) {
    const Workshop shop;
    const PublicKey key = shop.make_key("k", GetParam().arguments);
    EXPECT_EQ(key.type(), GetParam().type);
    EXPECT_EQ(key.bits(), GetParam().bits);
    EXPECT_EQ(key.comment(), "k");
    EXPECT_EQ(key.line() + " k\n", shop.read("k.pub"));
    const std::string shown = shop.run("ssh-keygen -lf k.pub").output;
    EXPECT_TRUE(shown.starts_with(std::to_string(key.bits()) + " " + key.fingerprint().str() + " k"))
        << shown;
    EXPECT_EQ(*PublicKey::from_blob(key.blob()), key);
}

TEST_P(PublicKeyOf, RefusesItsBlobCutShortAtEachLengthAndWithAByteMore) {
    const Workshop shop;
    const Bytes blob = shop.make_key("k", GetParam().arguments).blob();
    for (std::size_t size = 0; size < blob.size(); ++size)
        EXPECT_EQ(PublicKey::from_blob(ByteView(blob).first(size)).error().code, Code::kMalformed) << size;
    Bytes longer = blob;
    longer.push_back(0);
    EXPECT_EQ(PublicKey::from_blob(longer).error().code, Code::kMalformed);
}

// ssh-keygen -Y sign writes SSHSIG: its signature is over a preamble that we rebuild (PROTOCOL.sshsig).
TEST_P(PublicKeyOf, VerifiesWhatSshKeygenSigned) {
    const Workshop shop;
    const PublicKey key = shop.make_key("k", GetParam().arguments);
    shop.write("data", "hello");
    shop.must_run("ssh-keygen -q -Y sign -n test -f k data");
    std::string armour = shop.read("data.sig");
    std::string base64;
    armour.erase(0, armour.find('\n') + 1);
    armour.resize(armour.find("-----END"));
    std::erase(armour, '\n');
    const Bytes raw = *from_base64(armour);
    wire::Reader reader(raw);
    ASSERT_TRUE(reader.raw(6) && reader.u32());
    EXPECT_EQ(to_hex(*reader.string()), to_hex(key.blob()));
    ASSERT_TRUE(reader.string() && reader.string());
    const std::string_view hash = *reader.text();
    ASSERT_EQ(hash, "sha512");
    const Bytes signature = to_bytes(*reader.string());

    Bytes digest(64);
    EVP_Digest("hello", 5, digest.data(), nullptr, EVP_sha512(), nullptr);
    wire::Writer message;
    message.raw(as_bytes("SSHSIG"));
    message.string("test");
    message.string("");
    message.string(hash);
    message.string(digest);
    EXPECT_TRUE(key.verify(signature, message.bytes()));

    Bytes other = message.bytes();
    other.back() ^= 1;
    EXPECT_EQ(key.verify(signature, other).error().code, Code::kBadSignature);
    for (std::size_t i = 0; i < signature.size(); ++i) {
        Bytes flipped = signature;
        flipped[i] ^= 0x01;
        EXPECT_EQ(key.verify(flipped, message.bytes()).error().code, Code::kBadSignature) << i;
    }
    Bytes longer = signature;
    longer.push_back(0);
    EXPECT_FALSE(key.verify(longer, message.bytes()));
}

INSTANTIATE_TEST_SUITE_P(EveryType, PublicKeyOf, testing::ValuesIn(kKinds), [](const auto& kind) {
    std::string name = kind.param.arguments;
    std::erase_if(name, [](char c) { return std::isalnum(static_cast<unsigned char>(c)) == 0; });
    return name;
});

struct TokenKind {
    KeyType type;
};
void PrintTo(const TokenKind& kind, std::ostream* out) {
    *out << type_name(kind.type);
}

class SecurityKey : public testing::TestWithParam<TokenKind> {};

TEST_P(SecurityKey, HasTheFingerprintThatSshKeygenPrints) {
    const Workshop shop;
    const PublicKey key = SoftwareAuthenticator(GetParam().type).public_key();
    EXPECT_TRUE(key.is_hardware_backed());
    EXPECT_TRUE(key.check_strength());
    shop.write("sk.pub", key.line() + " token\n");
    const Outcome shown = shop.run("ssh-keygen -lf sk.pub");
    EXPECT_EQ(shown.status, 0) << shown.output;
    EXPECT_TRUE(shown.output.starts_with("256 " + key.fingerprint().str())) << shown.output;
}

TEST_P(SecurityKey, VerifiesATouchAndRefusesNone) {
    const SoftwareAuthenticator token(GetParam().type);
    const PublicKey key = token.public_key();
    EXPECT_TRUE(key.verify(token.sign(as_bytes("data")), as_bytes("data")));
    EXPECT_TRUE(key.verify(token.sign(as_bytes("data"), 0x05), as_bytes("data"))); // PIN as well
    const auto untouched = key.verify(token.sign(as_bytes("data"), 0x00), as_bytes("data"));
    ASSERT_FALSE(untouched);
    EXPECT_NE(untouched.error().message.find("touch"), std::string::npos);
    EXPECT_FALSE(key.verify(token.sign(as_bytes("data"), 0x04), as_bytes("data")));
}

TEST_P(SecurityKey, RefusesWhatWasNotSignedOverExactlyThis) {
    const SoftwareAuthenticator token(GetParam().type);
    const PublicKey key = token.public_key();
    const Bytes good = token.sign(as_bytes("data"));
    EXPECT_FALSE(key.verify(good, as_bytes("date")));
    EXPECT_FALSE(SoftwareAuthenticator(GetParam().type).public_key().verify(good, as_bytes("data")));
    for (std::size_t i = 0; i < good.size(); ++i) {
        Bytes flipped = good; // flags and counter are under the signature too
        flipped[i] ^= 0x02;
        EXPECT_EQ(key.verify(flipped, as_bytes("data")).error().code, Code::kBadSignature) << i;
    }
    for (std::size_t size = 0; size < good.size(); ++size)
        EXPECT_FALSE(key.verify(ByteView(good).first(size), as_bytes("data"))) << size;
}

INSTANTIATE_TEST_SUITE_P(EveryType, SecurityKey,
                         testing::Values(TokenKind{KeyType::kSkEd25519}, TokenKind{KeyType::kSkEcdsa256}),
                         [](const auto& kind) {
                             return kind.param.type == KeyType::kSkEd25519 ? "ed25519" : "ecdsa";
                         });

TEST(PublicKey, RefusesDsaWithWordsOfItsOwn) {
    const Workshop shop;
    wire::Writer writer;
    writer.string("ssh-dss");
    for (int i = 0; i < 4; ++i) writer.mpint(Bytes{0x7f});
    const auto refused = PublicKey::from_line("ssh-dss " + to_base64(writer.bytes()));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Code::kUnsupported);
    EXPECT_TRUE(refused.error().message.starts_with("DSA keys")) << refused.error().message;
    EXPECT_TRUE(PublicKey::from_blob(writer.bytes()).error().message.starts_with("DSA keys"));
}

TEST(PublicKey, RefusesPointsOffTheirCurve) {
    const Workshop shop;
    for (const char* size : {"256", "384", "521"}) {
        const PublicKey key = shop.make_key(std::string("k") + size, std::string("ecdsa -b ") + size);
        Bytes moved = key.blob();
        moved.back() ^= 1;
        const auto refused = PublicKey::from_blob(moved);
        ASSERT_FALSE(refused);
        EXPECT_NE(refused.error().message.find("not on its curve"), std::string::npos);
    }
    wire::Writer infinity;
    infinity.string("ecdsa-sha2-nistp256");
    infinity.string("nistp256");
    infinity.string(Bytes{0});
    EXPECT_FALSE(PublicKey::from_blob(infinity.bytes()));
}

TEST(PublicKey, RefusesACurveThatIsNotItsTypes) {
    const Workshop shop;
    const PublicKey key = shop.make_key("k", "ecdsa -b 256");
    wire::Writer writer;
    writer.string("ecdsa-sha2-nistp384");
    writer.raw(key.fields());
    EXPECT_EQ(PublicKey::from_blob(writer.bytes()).error().code, Code::kMalformed);
}

TEST(PublicKey, RefusesBlobsAndNumbersOverTheirLimits) {
    EXPECT_EQ(PublicKey::from_blob(Bytes(kMaxBlobSize + 1)).error().code, Code::kTooLarge);
    wire::Writer writer;
    writer.string("ssh-rsa");
    writer.mpint(Bytes{1, 0, 1});
    writer.mpint(Bytes(2049, 0x7f));
    EXPECT_FALSE(PublicKey::from_blob(writer.bytes()));
    EXPECT_EQ(PublicKey::from_line("ssh-ed25519 " + std::string(100'000, 'A')).error().code, Code::kTooLarge);
}

TEST(PublicKeyLine, KeepsTheCommentApart) {
    const PrivateKey key = *PrivateKey::generate(KeyType::kEd25519);
    const std::string line = key.public_key().line();
    EXPECT_EQ(PublicKey::from_line(line)->comment(), "");
    EXPECT_EQ(PublicKey::from_line("  " + line + "  bob's  laptop\r\n")->comment(), "bob's  laptop");
    EXPECT_EQ(PublicKey::from_line(line + " J\xc3\xbcrgen")->comment(), "J\xc3\xbcrgen");
    EXPECT_EQ(*PublicKey::from_line(line + " a"), *PublicKey::from_line(line + " b"));
}

TEST(PublicKeyLine, RefusesOptionsControlCharactersAndSecondLines) {
    const std::string line = PrivateKey::generate(KeyType::kEd25519)->public_key().line();
    EXPECT_FALSE(PublicKey::from_line("no-pty " + line));
    EXPECT_FALSE(PublicKey::from_line("command=\"x\" " + line));
    EXPECT_FALSE(PublicKey::from_line(line + " x\x1b[2J"));
    EXPECT_FALSE(PublicKey::from_line(line + "\n" + line));
    EXPECT_FALSE(PublicKey::from_line(""));
    EXPECT_FALSE(PublicKey::from_line("ssh-ed25519"));
    EXPECT_FALSE(PublicKey::from_line("ssh-ed25519 !!!!"));
}

TEST(PublicKeyLine, RefusesATypeThatIsNotItsKeys) {
    const std::string line = PrivateKey::generate(KeyType::kEd25519)->public_key().line();
    EXPECT_FALSE(PublicKey::from_line("ssh-rsa" + line.substr(line.find(' '))));
}

TEST(PublicKeyLine, SaysWhatToGiveInPlaceOfACertificateOrAPrivateKey) {
    const auto certificate = PublicKey::from_line("ssh-ed25519-cert-v01@openssh.com AAAA");
    EXPECT_NE(certificate.error().message.find("certificate"), std::string::npos);
    const auto secret = PublicKey::from_line("-----BEGIN OPENSSH PRIVATE KEY-----");
    EXPECT_NE(secret.error().next.find("private key"), std::string::npos);
}

TEST(Signature, WithSha1IsRefused) {
    const PrivateKey key = *PrivateKey::generate(KeyType::kRsa, 2048);
    const Bytes good = *key.sign(as_bytes("data"));
    wire::Reader reader(good);
    EXPECT_EQ(*reader.text(), "rsa-sha2-512");
    wire::Writer renamed;
    renamed.string("ssh-rsa");
    renamed.string(*reader.string());
    const auto refused = key.public_key().verify(renamed.bytes(), as_bytes("data"));
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message.find("SHA-1"), std::string::npos);
}

TEST(Signature, OfAnotherKeysTypeIsRefused) {
    const PrivateKey ed25519 = *PrivateKey::generate(KeyType::kEd25519);
    const PrivateKey ecdsa = *PrivateKey::generate(KeyType::kEcdsa256);
    EXPECT_FALSE(ecdsa.public_key().verify(*ed25519.sign(as_bytes("x")), as_bytes("x")));
    EXPECT_FALSE(ed25519.public_key().verify(*ecdsa.sign(as_bytes("x")), as_bytes("x")));
    EXPECT_TRUE(ecdsa.public_key().verify(*ecdsa.sign(as_bytes("x")), as_bytes("x")));
}

} // namespace
} // namespace latchkey::keys
