// SPDX-License-Identifier: Apache-2.0
// Every list that we write is loaded by stock ssh-keygen -Q, the reader that sshd has as well.
#include "core/revocation/krl.h"

#include <random>
#include <set>

#include "core/cert/certificate.h"
#include "core/keys/openssh_for_tests.h"

namespace latchkey::revocation {
namespace {

using keys::KeyType;
using keys::Outcome;
using keys::PrivateKey;
using keys::PublicKey;
using keys::Workshop;

// Certificates of one CA, a KRL, and ssh-keygen's answer.
class KrlTest : public testing::Test {
protected:
    std::string certificate(std::uint64_t serial, const PrivateKey& ca) const {
        cert::Content content;
        content.subject = subject_.public_key();
        content.serial = {serial};
        content.key_id = "bob/" + std::to_string(serial);
        content.principals = {"root"};
        content.valid_before = 4'000'000'000;
        const Bytes bytes = *cert::to_be_signed(content, Bytes(32), ca.public_key());
        return cert::Certificate::from_blob(cert::with_signature(bytes, *ca.sign(bytes)))->line();
    }

    // The files of which ssh-keygen says "revoked"; anything but a clean answer for each fails the test.
    std::set<std::string> revoked(const KrlContent& content, const std::string& files) const {
        shop_.write("krl", encode_krl(content));
        const Outcome outcome = shop_.run("ssh-keygen -Q -f krl " + files);
        std::set<std::string> found;
        std::size_t answers = 0;
        for (std::size_t start = 0; start < outcome.output.size();) {
            const std::size_t end = outcome.output.find('\n', start);
            const std::string line = outcome.output.substr(start, end - start);
            start = end + 1;
            if (line.ends_with(": REVOKED")) found.insert(line.substr(0, line.find_first_of(" :")));
            EXPECT_TRUE(line.ends_with(": REVOKED") || line.ends_with(": ok")) << line;
            ++answers;
        }
        EXPECT_GT(answers, 0U) << outcome.output;
        return found;
    }

    Workshop shop_;
    PrivateKey ca_ = *PrivateKey::generate(KeyType::kEd25519);
    PrivateKey other_ca_ = *PrivateKey::generate(KeyType::kEd25519);
    PrivateKey subject_ = *PrivateKey::generate(KeyType::kEd25519);
};

TEST_F(KrlTest, NamesTheRevokedSerialsOfItsCaAndNoOthers) {
    for (const std::uint64_t serial : std::vector<std::uint64_t>{1, 2, 3, 4, 5, 6, 9, 11})
        shop_.write("c" + std::to_string(serial), certificate(serial, ca_) + "\n");
    shop_.write("other", certificate(3, other_ca_) + "\n");
    KrlContent content;
    content.version = 7;
    content.made_at = from_seconds(1'800'000'000);
    content.cas = {ca_.public_key()};
    content.serials = {{11}, {3}, {4}, {2},
                       {5},  {9}, {0}, {11}}; // any order; a range, lists around it, a zero
    content.comment = "epoch 7";
    EXPECT_EQ(revoked(content, "c1 c2 c3 c4 c5 c6 c9 c11 other"),
              (std::set<std::string>{"c2", "c3", "c4", "c5", "c9", "c11"}));
    const Outcome shown = shop_.run("ssh-keygen -Q -l -f krl");
    EXPECT_NE(shown.output.find("version 7"), std::string::npos) << shown.output;
    EXPECT_NE(shown.output.find("serial: 2-5"), std::string::npos) << shown.output;
}

TEST_F(KrlTest, WithoutACaNamesSerialsOfAny) {
    shop_.write("c3", certificate(3, ca_) + "\n");
    shop_.write("o3", certificate(3, other_ca_) + "\n");
    shop_.write("o4", certificate(4, other_ca_) + "\n");
    KrlContent content;
    content.serials = {{3}};
    EXPECT_EQ(revoked(content, "c3 o3 o4"), (std::set<std::string>{"c3", "o3"}));
}

TEST_F(KrlTest, NamesKeysPlainAndInCertificates) {
    shop_.write("key.pub", subject_.public_key().line() + "\n");
    shop_.write("cert", certificate(3, ca_) + "\n");
    shop_.write("other.pub", other_ca_.public_key().line() + "\n");
    KrlContent content;
    content.keys = {subject_.public_key().fingerprint(), ca_.public_key().fingerprint()};
    EXPECT_EQ(revoked(content, "key.pub cert other.pub"), (std::set<std::string>{"key.pub", "cert"}));
}

TEST_F(KrlTest, OfNothingRevokesNothing) {
    shop_.write("c3", certificate(3, ca_) + "\n");
    EXPECT_EQ(revoked({}, "c3"), std::set<std::string>());
}

// One serial in ten of a run: what stock ssh-keygen -k writes as a bitmap that nobody can read.
TEST_F(KrlTest, Of10000In100000SerialsIsStillRead) {
    KrlContent content;
    content.cas = {ca_.public_key(), other_ca_.public_key()};
    for (std::uint64_t serial = 10; serial <= 100'000; serial += 10) content.serials.push_back({serial});
    ASSERT_EQ(content.serials.size(), 10'000U);
    for (const std::uint64_t serial : std::vector<std::uint64_t>{10, 15, 50'000, 50'001, 100'000, 100'010})
        shop_.write("c" + std::to_string(serial), certificate(serial, ca_) + "\n");
    EXPECT_EQ(revoked(content, "c10 c15 c50000 c50001 c100000 c100010"),
              (std::set<std::string>{"c10", "c50000", "c100000"}));
}

TEST_F(KrlTest, Of63RandomBitsAsOursAreIsRead) {
    std::mt19937_64 random(1); // NOLINT: the same numbers in each run
    KrlContent content;
    content.cas = {ca_.public_key()};
    for (int i = 0; i < 5000; ++i) content.serials.push_back({random() >> 1 | 1});
    shop_.write("in", certificate(content.serials[77].value, ca_) + "\n");
    shop_.write("out", certificate(content.serials[77].value + 1, ca_) + "\n");
    EXPECT_EQ(revoked(content, "in out"), std::set<std::string>{"in"});
}

TEST_F(KrlTest, OfTheHighestSerialsIsRead) {
    KrlContent content;
    content.cas = {ca_.public_key()};
    for (std::uint64_t down = 0; down < 4; ++down) content.serials.push_back({UINT64_MAX - down});
    shop_.write("last", certificate(UINT64_MAX, ca_) + "\n");
    shop_.write("below", certificate(UINT64_MAX - 4, ca_) + "\n");
    EXPECT_EQ(revoked(content, "last below"), std::set<std::string>{"last"});
}

} // namespace
} // namespace latchkey::revocation
