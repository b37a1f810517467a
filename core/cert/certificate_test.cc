// SPDX-License-Identifier: Apache-2.0
#include "core/cert/certificate.h"

#include <functional>

#include "core/keys/openssh_for_tests.h"

namespace latchkey::cert {
namespace {

using keys::KeyType;
using keys::Outcome;
using keys::PrivateKey;
using keys::PublicKey;
using keys::SoftwareAuthenticator;
using keys::Workshop;

constexpr std::int64_t kNow = 1'800'000'000;
const Bytes kNonce(32, 0x5a);

PrivateKey new_key(KeyType type = KeyType::kEd25519) {
    return *PrivateKey::generate(type, 3072);
}

Login login(std::string_view name) {
    return *Login::parse(name);
}

Content content_for(const PublicKey& subject) {
    Content content;
    content.subject = subject;
    content.serial = {42};
    content.key_id = "bob/42";
    content.principals = {"deploy", "root"};
    content.valid_after = kNow - 60;
    content.valid_before = kNow + 3600;
    return content;
}

Content with_options(Content content) {
    content.critical_options = {{"source-address", "10.0.0.0/8,::1/128"}, {"force-command", "id -u"}};
    content.extensions = {{"permit-user-rc", ""}, {"permit-pty", ""}};
    return content;
}

Bytes build(const Content& content, const PrivateKey& ca) {
    const Bytes unsigned_bytes = *to_be_signed(content, kNonce, ca.public_key());
    return with_signature(unsigned_bytes, *ca.sign(unsigned_bytes));
}

Certificate certificate_of(const Content& content, const PrivateKey& ca) {
    auto certificate = Certificate::from_blob(build(content, ca));
    EXPECT_TRUE(certificate) << certificate.error().line();
    return *certificate;
}

struct SubjectKind {
    std::string name;
    std::function<PublicKey(const Workshop&)> make;
};

std::vector<SubjectKind> subject_kinds() {
    std::vector<SubjectKind> kinds;
    for (const char* type : {"ed25519", "ecdsa -b 256", "ecdsa -b 384", "ecdsa -b 521", "rsa -b 3072"})
        kinds.push_back({type, [type](const Workshop& shop) { return shop.make_key("subject", type); }});
    for (const KeyType type : {KeyType::kSkEd25519, KeyType::kSkEcdsa256}) {
        kinds.push_back({std::string(type_name(type)), [type](const Workshop& shop) {
                             PublicKey key = SoftwareAuthenticator(type).public_key();
                             shop.write("subject.pub", key.line() + " subject\n");
                             return key;
                         }});
    }
    return kinds;
}

struct CaKind {
    const char* arguments;
    KeyType type;
};
constexpr CaKind kCaKinds[] = {
    {"ed25519", KeyType::kEd25519}, {"ecdsa -b 256", KeyType::kEcdsa256}, {"rsa -b 3072", KeyType::kRsa}};

void PrintTo(const CaKind& kind, std::ostream* out) {
    *out << kind.arguments;
}

class CertificateUnder : public testing::TestWithParam<CaKind> {};

TEST_P(CertificateUnder, ThisCaMadeBySshKeygenIsParsedAndVerifiedForEverySubject) {
    for (const SubjectKind& kind : subject_kinds()) {
        const Workshop shop;
        const PublicKey ca = shop.make_key("ca", GetParam().arguments);
        const PublicKey subject = kind.make(shop);
        for (const bool has_options : {false, true}) {
            SCOPED_TRACE(kind.name + (has_options ? " with options" : " without options"));
            shop.must_run(
                std::string(
                    "ssh-keygen -q -s ca -I bob/7 -n deploy,root -z 7 -V 20200101:20990101 -O clear ") +
                (has_options ? "-O permit-pty -O force-command='id -u' -O source-address=10.0.0.0/8 "
                               "-O verify-required -O extension:note@example.org=hi "
                             : "") +
                "subject.pub");
            const auto certificate = Certificate::from_line(shop.read("subject-cert.pub"));
            ASSERT_TRUE(certificate) << certificate.error().line();
            const Content& content = certificate->content();
            EXPECT_EQ(content.subject, subject);
            EXPECT_EQ(content.serial, Serial{7});
            EXPECT_EQ(content.key_id, "bob/7");
            EXPECT_EQ(content.principals, (std::vector<std::string>{"deploy", "root"}));
            EXPECT_EQ(certificate->ca(), ca);
            if (has_options) {
                const std::vector<Option> critical = {
                    {"force-command", "id -u"}, {"source-address", "10.0.0.0/8"}, {"verify-required", ""}};
                const std::vector<Option> extensions = {{"note@example.org", "hi"}, {"permit-pty", ""}};
                EXPECT_EQ(content.critical_options, critical);
                EXPECT_EQ(content.extensions, extensions);
            } else {
                EXPECT_TRUE(content.critical_options.empty() && content.extensions.empty());
            }
            EXPECT_TRUE(verify(*certificate, {ca}, from_seconds(kNow), login("deploy")));
            EXPECT_FALSE(verify(*certificate, {ca}, from_seconds(kNow), login("other")));
            // Rebuilt from what we understood, the signed bytes are the same.
            wire::Reader reader(certificate->signed_part());
            ASSERT_TRUE(reader.text());
            EXPECT_EQ(*to_be_signed(content, *reader.string(), ca), to_bytes(certificate->signed_part()));
            EXPECT_EQ(certificate->line() + " subject\n", shop.read("subject-cert.pub"));
        }
    }
}

TEST_P(CertificateUnder, ThisCaMadeByUsIsAcceptedBySshKeygenForEverySubject) {
    const PrivateKey ca = new_key(GetParam().type);
    for (const SubjectKind& kind : subject_kinds()) {
        const Workshop shop;
        const PublicKey subject = kind.make(shop);
        for (const bool has_options : {false, true}) {
            SCOPED_TRACE(kind.name + (has_options ? " with options" : " without options"));
            Content content = content_for(subject);
            if (has_options) {
                content = with_options(content);
                if (subject.is_hardware_backed()) content.critical_options.push_back({"verify-required", ""});
            }
            const Certificate certificate = certificate_of(content, ca);
            shop.write("our-cert.pub", certificate.line() + "\n");
            const Outcome shown = shop.run("ssh-keygen -L -f our-cert.pub"); // checks the CA's signature
            EXPECT_EQ(shown.status, 0) << shown.output;
            std::vector<std::string> expected = {"Key ID: \"bob/42\"",
                                                 "Serial: 42",
                                                 "deploy",
                                                 "root",
                                                 "user certificate",
                                                 ca.public_key().fingerprint().str(),
                                                 subject.fingerprint().str()};
            if (has_options)
                for (const char* word : {"permit-pty", "permit-user-rc", "force-command id -u",
                                         "source-address 10.0.0.0/8,::1/128"})
                    expected.emplace_back(word);
            for (const std::string& word : expected)
                EXPECT_NE(shown.output.find(word), std::string::npos) << word << "\n" << shown.output;
            EXPECT_EQ(shown.output.find("UNKNOWN"), std::string::npos) << shown.output;
            EXPECT_TRUE(verify(certificate, {ca.public_key()}, from_seconds(kNow), login("root")));
        }
    }
}

TEST_P(CertificateUnder, ThisCaIsRefusedWhenAnyByteIsFlipped) {
    const PrivateKey ca = new_key(GetParam().type);
    const Bytes good = build(with_options(content_for(new_key().public_key())), ca);
    ASSERT_TRUE(verify(*Certificate::from_blob(good), {ca.public_key()}, from_seconds(kNow), {}));
    for (std::size_t i = 0; i < good.size(); ++i) {
        for (const std::uint8_t mask : Bytes{0x01, 0x80}) {
            Bytes flipped = good;
            flipped[i] ^= mask;
            const auto certificate = Certificate::from_blob(flipped);
            EXPECT_FALSE(certificate && verify(*certificate, {ca.public_key()}, from_seconds(kNow), {})) << i;
        }
    }
}

INSTANTIATE_TEST_SUITE_P(EveryCa, CertificateUnder, testing::ValuesIn(kCaKinds), [](const auto& kind) {
    const std::string name = kind.param.arguments;
    return name.substr(0, name.find(' '));
});

TEST(Certificate, CutShortAtAnyLengthIsRefused) {
    const Bytes good = build(with_options(content_for(new_key().public_key())), new_key());
    for (std::size_t size = 0; size < good.size(); ++size)
        EXPECT_EQ(Certificate::from_blob(ByteView(good).first(size)).error().code, Code::kMalformed) << size;
    Bytes longer = good;
    longer.push_back(0);
    EXPECT_EQ(Certificate::from_blob(longer).error().code, Code::kMalformed);
}

TEST(Certificate, OverItsSizeIsRefused) {
    const auto refused = Certificate::from_blob(Bytes(kMaxCertificateSize + 1));
    EXPECT_EQ(refused.error().code, Code::kTooLarge);
    EXPECT_EQ(Certificate::from_line(std::string(200'000, 'A')).error().code, Code::kTooLarge);
    Content content = content_for(new_key().public_key());
    content.extensions = {{"note@example.org", std::string(kMaxCertificateSize, 'x')}};
    EXPECT_EQ(to_be_signed(content, kNonce, new_key().public_key()).error().code, Code::kTooLarge);
}

// Each refusal, with the code and the message that it alone has.
TEST(Verify, RefusesEachFaultWithItsOwnError) {
    const PrivateKey ca = new_key();
    const PrivateKey other_ca = new_key();
    const Content good = content_for(new_key().public_key());
    const std::vector<PublicKey> trusted = {other_ca.public_key(), ca.public_key()};
    const Micros now = from_seconds(kNow);
    ASSERT_TRUE(verify(certificate_of(good, ca), trusted, now, login("root")));
    ASSERT_TRUE(verify(certificate_of(good, ca), trusted, now, {}));

    struct Case {
        std::string message;
        Code code;
        Status status;
    };
    const auto changed = [&](const std::function<void(Content&)>& change) {
        Content content = good;
        change(content);
        return certificate_of(content, ca);
    };
    const Certificate host = changed([](Content& content) { content.type = kTypeHost; });
    const Certificate option = changed([](Content& content) {
        content.critical_options = {{"new-rule", "x"}};
    });
    Bytes broken = build(good, ca);
    broken.back() ^= 1;
    const Case cases[] = {
        {"this is a host certificate, not a user's", Code::kRefused, verify(host, trusted, now, {})},
        {"certificate of a CA that is not trusted here", Code::kRefused,
         verify(certificate_of(good, ca), {other_ca.public_key()}, now, {})},
        {"signature that does not verify", Code::kBadSignature,
         verify(*Certificate::from_blob(broken), trusted, now, {})},
        {"certificate that is not yet valid", Code::kNotYetValid,
         verify(certificate_of(good, ca), trusted, from_seconds(kNow - 61), {})},
        {"certificate that has ended", Code::kExpired,
         verify(certificate_of(good, ca), trusted, from_seconds(kNow + 3600), {})},
        {"certificate with an unknown critical option", Code::kUnsupported, verify(option, trusted, now, {})},
        {"certificate that does not name this login", Code::kRefused,
         verify(certificate_of(good, ca), trusted, now, login("bob"))},
    };
    for (const Case& one : cases) {
        ASSERT_FALSE(one.status) << one.message;
        EXPECT_EQ(one.status.error().code, one.code) << one.message;
        EXPECT_EQ(one.status.error().message, one.message);
    }
    EXPECT_FALSE(verify(certificate_of(good, ca), {}, now, {}));
}

TEST(Verify, HoldsFromItsFirstSecondToTheLast) {
    const PrivateKey ca = new_key();
    const Certificate certificate = certificate_of(content_for(new_key().public_key()), ca);
    EXPECT_TRUE(verify(certificate, {ca.public_key()}, from_seconds(kNow - 60), {}));
    EXPECT_TRUE(verify(certificate, {ca.public_key()}, from_seconds(kNow + 3599), {}));
    EXPECT_FALSE(verify(certificate, {ca.public_key()}, from_seconds(-5), {}));
}

TEST(Verify, RefusesZeroPrincipalsWhichOpensshWouldTakeForAnybody) {
    const Workshop shop;
    const PublicKey ca = shop.make_key("ca", "ed25519");
    shop.make_key("subject", "ed25519");
    shop.must_run("ssh-keygen -q -s ca -I bob -V 20200101:20990101 subject.pub");
    const auto certificate = Certificate::from_line(shop.read("subject-cert.pub"));
    ASSERT_TRUE(certificate);
    const Status status = verify(*certificate, {ca}, from_seconds(kNow), {});
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().message, "certificate that names no principal");
}

TEST(Verify, RefusesHostCertificatesOfSshKeygen) {
    const Workshop shop;
    const PublicKey ca = shop.make_key("ca", "ed25519");
    shop.make_key("subject", "ed25519");
    shop.must_run("ssh-keygen -q -s ca -h -I vm -n vm -V 20200101:20990101 subject.pub");
    const auto certificate = Certificate::from_line(shop.read("subject-cert.pub"));
    ASSERT_TRUE(certificate);
    EXPECT_EQ(verify(*certificate, {ca}, from_seconds(kNow), {}).error().message,
              "this is a host certificate, not a user's");
}

TEST(Verify, RefusesRsaCertificatesSignedWithSha1AndTakesSha256) {
    const Workshop shop;
    const PublicKey ca = shop.make_key("ca", "rsa -b 3072");
    shop.make_key("subject", "ed25519");
    const auto sign = [](const std::string& algorithm) {
        return "ssh-keygen -q -t " + algorithm + " -s ca -I bob -n root -V 20200101:20990101 subject.pub";
    };
    shop.must_run(sign("rsa-sha2-256"));
    EXPECT_TRUE(verify(*Certificate::from_line(shop.read("subject-cert.pub")), {ca}, from_seconds(kNow), {}));
    shop.must_run(sign("ssh-rsa"));
    const Status status =
        verify(*Certificate::from_line(shop.read("subject-cert.pub")), {ca}, from_seconds(kNow), {});
    ASSERT_FALSE(status);
    EXPECT_NE(status.error().message.find("SHA-1"), std::string::npos);
}

TEST(Verify, RefusesCriticalOptionsOfTheWrongShape) {
    const PrivateKey ca = new_key();
    for (const Option& option :
         {Option{"verify-required", "yes"}, Option{"force-command", ""}, Option{"source-address", ""}}) {
        Content content = content_for(new_key().public_key());
        content.critical_options = {option};
        EXPECT_EQ(verify(certificate_of(content, ca), {ca.public_key()}, from_seconds(kNow), {}).error().code,
                  Code::kMalformed)
            << option.name;
    }
}

TEST(ToBeSigned, RefusesWhatNoCertificateMaySay) {
    const PublicKey ca = new_key().public_key();
    const Content good = content_for(new_key().public_key());
    const std::pair<const char*, std::function<void(Content&)>> changes[] = {
        {"no principal", [](Content& c) { c.principals.clear(); }},
        {"257 principals", [](Content& c) { c.principals.assign(257, "a"); }},
        {"empty principal", [](Content& c) { c.principals = {""}; }},
        {"NUL in principal", [](Content& c) { c.principals = {std::string("a\0b", 3)}; }},
        {"NUL in key id", [](Content& c) { c.key_id = std::string("a\0b", 3); }},
        {"empty window", [](Content& c) { c.valid_before = c.valid_after; }},
        {"window backwards", [](Content& c) { c.valid_before = c.valid_after - 1; }},
        {"unknown type", [](Content& c) { c.type = 3; }},
        {"option twice",
         [](Content& c) {
             c.extensions = {{"permit-pty", ""}, {"permit-pty", ""}};
         }},
        {"critical option twice",
         [](Content& c) {
             c.critical_options = {{"a", "1"}, {"a", "2"}};
         }},
        {"option without name",
         [](Content& c) {
             c.extensions = {{"", "x"}};
         }},
        {"no subject", [](Content& c) { c.subject = PublicKey(); }},
    };
    ASSERT_TRUE(to_be_signed(good, kNonce, ca));
    for (const auto& [what, change] : changes) {
        Content content = good;
        change(content);
        EXPECT_EQ(to_be_signed(content, kNonce, ca).error().code, Code::kUsage) << what;
    }
    EXPECT_FALSE(to_be_signed(good, Bytes(8), ca));
    Content most = good;
    most.principals.assign(256, "a");
    EXPECT_TRUE(to_be_signed(most, kNonce, ca));
}

TEST(ParseToBeSigned, GivesBackWhatWasPutIn) {
    const PublicKey ca = new_key().public_key();
    const Content content = with_options(content_for(new_key().public_key()));
    const Bytes bytes = *to_be_signed(content, kNonce, ca);
    PublicKey seen_ca;
    const auto parsed = parse_to_be_signed(bytes, &seen_ca);
    ASSERT_TRUE(parsed);
    EXPECT_EQ(seen_ca, ca);
    EXPECT_EQ(parsed->key_id, content.key_id);
    EXPECT_EQ(parsed->extensions.front().name, "permit-pty"); // sorted by name
    EXPECT_EQ(*to_be_signed(*parsed, kNonce, ca), bytes);
    EXPECT_FALSE(parse_to_be_signed(build(content, new_key()))) << "a whole certificate is no signer's input";
    for (std::size_t size = 0; size < bytes.size(); ++size)
        EXPECT_FALSE(parse_to_be_signed(ByteView(bytes).first(size))) << size;
}

// Options by hand: what OpenSSH's format forbids and a careless CA might write.
Bytes with_raw_options(const std::vector<std::pair<std::string, Bytes>>& critical) {
    const PrivateKey ca = new_key();
    const PublicKey subject = new_key().public_key();
    wire::Writer options;
    for (const auto& [name, data] : critical) {
        options.string(name);
        options.string(data);
    }
    wire::Writer writer;
    writer.string(keys::cert_type_name(subject.type()));
    writer.string(kNonce);
    writer.raw(subject.fields());
    writer.u64(1);
    writer.u32(kTypeUser);
    writer.string("id");
    writer.string(Bytes{0, 0, 0, 1, 'a'});
    writer.u64(0);
    writer.u64(1);
    writer.string(options.bytes());
    writer.string("");
    writer.string("");
    writer.string(ca.public_key().blob());
    const Bytes signature = *ca.sign(writer.bytes());
    writer.string(signature);
    return writer.take();
}

TEST(Certificate, WithOptionsOutOfOrderTwiceOrBadlyWrappedIsRefused) {
    const Bytes value = {0, 0, 0, 1, 'x'};
    EXPECT_TRUE(Certificate::from_blob(with_raw_options({{"a", value}, {"b", {}}})));
    EXPECT_EQ(Certificate::from_blob(with_raw_options({{"b", {}}, {"a", value}})).error().message,
              "options out of order or given twice");
    EXPECT_FALSE(Certificate::from_blob(with_raw_options({{"a", value}, {"a", value}})));
    EXPECT_FALSE(Certificate::from_blob(with_raw_options({{"a", {'x'}}})));
    EXPECT_FALSE(Certificate::from_blob(with_raw_options({{"a", {0, 0, 0, 1, 'x', 'y'}}})));
    EXPECT_FALSE(Certificate::from_blob(with_raw_options({{"a", {0, 0, 0, 0}}})));
    EXPECT_FALSE(Certificate::from_blob(with_raw_options({{"", value}})));
}

TEST(CertificateLine, OfAnotherTypeOrNoneIsRefused) {
    const Certificate certificate = certificate_of(content_for(new_key().public_key()), new_key());
    EXPECT_EQ(Certificate::from_line(certificate.line() + " comment\n")->blob(), certificate.blob());
    const std::string rest = certificate.line().substr(certificate.line().find(' '));
    EXPECT_FALSE(Certificate::from_line("ssh-rsa-cert-v01@openssh.com" + rest));
    EXPECT_FALSE(Certificate::from_line("ssh-ed25519" + rest));
    EXPECT_FALSE(Certificate::from_line(""));
    EXPECT_FALSE(Certificate::from_line(new_key().public_key().line()));
}

TEST(Certificate, DigestIsSha256OfItsBlob) {
    const Certificate certificate = certificate_of(content_for(new_key().public_key()), new_key());
    EXPECT_EQ(certificate.digest(), to_bytes(keys::sha256(certificate.blob())));
}

} // namespace
} // namespace latchkey::cert
