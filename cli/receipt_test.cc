// SPDX-License-Identifier: Apache-2.0
#include "cli/receipt.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "core/keys/private_key.h"
#include "core/posix/file.h"
#include "core/receipt/receipt.h"

namespace latchkey::cli {
namespace {

using ::testing::HasSubstr;

class VerifyReceipts : public ::testing::Test {
protected:
    VerifyReceipts() {
        EXPECT_NE(::mkdtemp(folder_.data()), nullptr);
        ::setenv("XDG_CONFIG_HOME", folder_.c_str(), 1);
        write("web-1.pub", web_.public_key().line() + " web-1\n");
        write("known", "web-1 " + web_.public_key().line() + "\nweb-2 " + db_.public_key().line() + "\n");
        write("one.json", receipt::to_json(std::vector{receipt_of("web-1", web_)}));
        write("two.json",
              "{\"receipts\":" +
                  receipt::to_json(std::vector{receipt_of("web-1", web_), receipt_of("web-2", db_)}) + "}");
    }
    ~VerifyReceipts() override { std::filesystem::remove_all(folder_); }

    static receipt::SignedReceipt receipt_of(const char* vm, const keys::PrivateKey& key) {
        receipt::SignedReceipt made;
        made.vm = *VmName::parse(vm);
        made.key = key.public_key().fingerprint();
        made.receipt.epoch = {7};
        made.receipt.time = {1'790'000'000'000'000};
        made.receipt.sessions_found = made.receipt.sessions_ended = 1;
        made.receipt.signature = *key.sign(protocol::receipt_signed_bytes(made.receipt));
        return made;
    }
    std::string path(const std::string& name) const { return folder_ + "/" + name; }
    void write(const std::string& name, const std::string& text) const {
        ASSERT_TRUE(posix::write_file(path(name), as_bytes(text), 0644));
    }
    static Code code_of(const Result<std::string>& result) {
        EXPECT_FALSE(result);
        return result ? Code::kInternal : result.error().code;
    }

    std::string folder_ = "/tmp/lk-receipt-XXXXXX";
    keys::PrivateKey web_ = *keys::PrivateKey::generate(keys::KeyType::kEd25519);
    keys::PrivateKey db_ = *keys::PrivateKey::generate(keys::KeyType::kEd25519);
};

TEST_F(VerifyReceipts, SaysInOneLineWhatTheVmSigned) {
    const auto said = verify_receipts({path("one.json"), path("web-1.pub"), {}, {}});
    ASSERT_TRUE(said) << said.error().line();
    EXPECT_EQ(*said,
              "genuine: web-1 (id 0) applied epoch 7 at 2026-09-21 14:13:20 UTC, ended 1 of 1 sessions");
}

TEST_F(VerifyReceipts, ByKnownVmsTakesAllOfAFleet) {
    EXPECT_EQ(*verify_receipts({path("two.json"), {}, path("known"), {}}),
              "genuine: 2 receipts of 2 VMs, epoch 7");
    std::filesystem::create_directory(path("latchkey"));
    write("latchkey/known_vms", "web-1 " + web_.public_key().line() + "\n");
    EXPECT_TRUE(verify_receipts({path("one.json"), {}, {}, {}}));
    const auto unknown = verify_receipts({path("two.json"), {}, {}, {}});
    EXPECT_EQ(code_of(unknown), Code::kNotFound);
    EXPECT_THAT(unknown.error().message, HasSubstr("no key of web-2"));
}

TEST_F(VerifyReceipts, TakesTheKeyThatFitsOfAVmThatJoinedAnew) {
    write("known", "web-1 " + db_.public_key().line() + "\nweb-1 " + web_.public_key().line() + "\n");
    EXPECT_TRUE(verify_receipts({path("one.json"), {}, path("known"), {}}));
}

TEST_F(VerifyReceipts, RefusesAnothersKeyAndNamesNoVmThatIsNotThere) {
    EXPECT_EQ(code_of(verify_receipts({path("two.json"), path("web-1.pub"), {}, {}})),
              Code::kUnauthenticated);
    EXPECT_TRUE(verify_receipts({path("two.json"), path("web-1.pub"), {}, "web-1"}));
    EXPECT_EQ(code_of(verify_receipts({path("two.json"), path("web-1.pub"), {}, "web-9"})), Code::kNotFound);
}

TEST_F(VerifyReceipts, RefusesTheReceiptOfOneVmUnderAnothersName) {
    auto moved = receipt_of("web-1", web_);
    moved.vm = *VmName::parse("web-2");
    write("moved.json", receipt::to_json(std::vector{moved}));
    EXPECT_EQ(code_of(verify_receipts({path("moved.json"), {}, path("known"), {}})), Code::kUnauthenticated);
    moved.key = db_.public_key().fingerprint();
    write("moved.json", receipt::to_json(std::vector{moved}));
    EXPECT_EQ(code_of(verify_receipts({path("moved.json"), {}, path("known"), {}})), Code::kBadSignature);
}

TEST_F(VerifyReceipts, RefusesWithoutAKeyAndWithoutAFile) {
    EXPECT_EQ(code_of(verify_receipts({path("one.json"), {}, {}, {}})), Code::kUsage);
    EXPECT_EQ(code_of(verify_receipts({path("none.json"), path("web-1.pub"), {}, {}})), Code::kNotFound);
    write("web-1.pub", "not a key\n");
    EXPECT_THAT(verify_receipts({path("one.json"), path("web-1.pub"), {}, {}}).error().message,
                HasSubstr("holds no public key"));
}

} // namespace
} // namespace latchkey::cli
