// SPDX-License-Identifier: Apache-2.0
#include "core/receipt/receipt.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/keys/private_key.h"

namespace latchkey::receipt {
namespace {

using ::testing::HasSubstr;

class ReceiptJson : public ::testing::Test {
protected:
    static SignedReceipt signed_by(const keys::PrivateKey& key) {
        SignedReceipt made;
        made.vm = *VmName::parse("web-1");
        made.key = key.public_key().fingerprint();
        protocol::Receipt& receipt = made.receipt;
        receipt.epoch = {7};
        receipt.vm_id = {9'007'199'254'740'993}; // a double would lose its last bit
        receipt.sessions_found = 2;
        receipt.sessions_ended = 1;
        receipt.grants_purged = 3;
        receipt.time = {1'790'000'000'000'000};
        receipt.trouble = "session 5 of \"bob\" could not be ended — disk full";
        receipt.signature = *key.sign(protocol::receipt_signed_bytes(receipt));
        return made;
    }
    static std::string replaced(std::string text, const std::string& from, const std::string& to) {
        const auto at = text.find(from);
        EXPECT_NE(at, std::string::npos) << from << " in " << text;
        return text.replace(at, from.size(), to);
    }
    static std::string why_not(std::string_view text) {
        const auto read = from_json(text);
        EXPECT_FALSE(read) << text;
        return read ? std::string() : read.error().message;
    }

    keys::PrivateKey key_ = *keys::PrivateKey::generate(keys::KeyType::kEd25519);
    keys::PrivateKey other_ = *keys::PrivateKey::generate(keys::KeyType::kEd25519);
    SignedReceipt signed_ = signed_by(key_);
    std::string json_ = to_json({&signed_, 1});
};

TEST_F(ReceiptJson, IsReadBackAsItWasWrittenAndVerifies) {
    const auto read = from_json(json_);
    ASSERT_TRUE(read) << read.error().line();
    ASSERT_EQ(read->size(), 1U);
    EXPECT_EQ(to_json(*read), json_);
    EXPECT_EQ(read->front().receipt.vm_id, signed_.receipt.vm_id);
    EXPECT_TRUE(verify(read->front(), key_.public_key()));
}

TEST_F(ReceiptJson, IsTakenFromTheDocumentsOfBrokerAndAgentAndAlone) {
    EXPECT_TRUE(from_json(R"({"epoch": 7, "receipts": )" + json_ + "}"));
    EXPECT_TRUE(from_json(json_.substr(1, json_.size() - 2)));
    EXPECT_EQ(why_not("{}"), "receipt 1: its field 'vm' is missing");
    EXPECT_THAT(why_not("[]"), HasSubstr("no receipt"));
    EXPECT_THAT(why_not(R"({"receipts": []})"), HasSubstr("no receipt"));
    EXPECT_THAT(why_not("[7]"), HasSubstr("no JSON object"));
}

TEST_F(ReceiptJson, ThatWasAlteredInAnyFieldDoesNotVerify) {
    const std::pair<const char*, const char*> changes[] = {
        {R"("epoch":7)", R"("epoch":8)"},
        {"740993", "740992"},
        {R"("sessions_found":2)", R"("sessions_found":1)"},
        {R"("sessions_ended":1)", R"("sessions_ended":2)"},
        {R"("grants_purged":3)", R"("grants_purged":0)"},
        {"1790000000000000", "1790000000000001"},
        {"disk full", "disk fine"},
    };
    for (const auto& [from, to] : changes) {
        const auto read = from_json(replaced(json_, from, to));
        ASSERT_TRUE(read) << to;
        const Status status = verify(read->front(), key_.public_key());
        ASSERT_FALSE(status) << to;
        EXPECT_EQ(status.error().code, Code::kBadSignature);
        EXPECT_THAT(status.error().message, HasSubstr("it was altered"));
    }
}

TEST_F(ReceiptJson, OfAnotherKeyIsRefusedWithBothFingerprints) {
    const Status status = verify(signed_, other_.public_key());
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code, Code::kUnauthenticated);
    EXPECT_THAT(status.error().message, HasSubstr(key_.public_key().fingerprint().str()));
    EXPECT_THAT(status.error().message, HasSubstr(other_.public_key().fingerprint().str()));
    // Nor where it claims the key that it was not signed by.
    SignedReceipt claims = signed_;
    claims.key = other_.public_key().fingerprint();
    EXPECT_EQ(verify(claims, other_.public_key()).error().code, Code::kBadSignature);
}

TEST_F(ReceiptJson, ThatIsCutOffOrIncompleteSaysSo) {
    for (const std::size_t size : {std::size_t{0}, json_.size() / 2, json_.size() - 1})
        EXPECT_THAT(why_not(json_.substr(0, size)), HasSubstr("cut off"));
    for (const char* name : {"vm", "epoch", "vm_id", "sessions_found", "sessions_ended", "grants_purged",
                             "time_micros", "trouble", "signature"}) {
        EXPECT_EQ(why_not(replaced(json_, "\"" + std::string(name) + "\":", "\"x\":")),
                  "receipt 1: its field '" + std::string(name) + "' is missing");
    }
    EXPECT_THAT(why_not(replaced(json_, R"("epoch":7)", R"("epoch":-7)")), HasSubstr("'epoch' is no number"));
    EXPECT_THAT(why_not(replaced(json_, R"("epoch":7)", R"("epoch":"7x")")),
                HasSubstr("'epoch' is no number"));
    EXPECT_THAT(why_not(replaced(json_, R"("sessions_found":2)", R"("sessions_found":4294967298)")),
                HasSubstr("out of range"));
    EXPECT_THAT(why_not(replaced(json_, R"("signature":")", R"("signature":"*)")), HasSubstr("not base64"));
    EXPECT_THAT(why_not(replaced(json_, "web-1", "Web 1")), HasSubstr("'vm' is malformed"));
}

TEST_F(ReceiptJson, ReplacesWhatIsNoUtf8) {
    signed_.receipt.trouble = "caf\xe9";
    signed_.receipt.signature = *key_.sign(protocol::receipt_signed_bytes(signed_.receipt));
    const auto read = from_json(to_json({&signed_, 1}));
    ASSERT_TRUE(read);
    EXPECT_FALSE(verify(read->front(), key_.public_key()));
}

TEST(KnownVms, AreReadByNameAndABadLineIsNamed) {
    const auto key = *keys::PrivateKey::generate(keys::KeyType::kEd25519);
    const std::string line = "web-1 " + key.public_key().line() + "\n";
    const auto known = parse_known_vms("# from the broker\n\n" + line + line);
    ASSERT_TRUE(known);
    ASSERT_EQ(known->size(), 2U);
    EXPECT_EQ(known->front().vm.str(), "web-1");
    EXPECT_EQ(known->front().key, key.public_key());
    for (const char* bad : {"web-1", "web-1 ", " ", "web-1 ssh-ed25519 AAAA", "Web;1 x y"}) {
        const auto none = parse_known_vms(line + bad);
        ASSERT_FALSE(none) << bad;
        EXPECT_THAT(none.error().message, HasSubstr("line 2"));
    }
}

TEST(SecondReceipts, AddOnlyWhatIsNew) {
    protocol::Receipt first;
    protocol::Receipt later;
    EXPECT_FALSE(adds_to(first, later)) << "it came back and has nothing to add";
    later.sessions_found = 1;
    EXPECT_TRUE(adds_to(first, later));
    later.sessions_found = 0;
    first.trouble = "session 5 could not be ended";
    EXPECT_TRUE(adds_to(first, later)) << "the trouble is over";
    EXPECT_FALSE(adds_to(first, first));
    EXPECT_TRUE(adds_to(later, first)) << "there is trouble now";
}

} // namespace
} // namespace latchkey::receipt
