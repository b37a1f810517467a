// SPDX-License-Identifier: Apache-2.0
#include "plugins/file-signer/file_signer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "core/posix/file.h"
#include "plugins/sdk/fake_host.h"

namespace latchkey::file_signer {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class FileSignerTest : public testing::Test {
protected:
    FileSignerTest() {
        std::string name = (fs::temp_directory_path() / "lk-signer-XXXXXX").string();
        folder_ = ::mkdtemp(name.data());
        path_ = folder_ / "ca";
    }
    ~FileSignerTest() override { fs::remove_all(folder_); }

    keys::PublicKey make_key(keys::KeyType type = keys::KeyType::kEd25519) const {
        const auto key = keys::PrivateKey::generate(type);
        EXPECT_TRUE(posix::write_file(path_, key->to_openssh_pem("ca").view(), 0600));
        return key->public_key();
    }
    Result<std::unique_ptr<FileSigner>> open() const {
        const sdk::FakeHost host{{"key", path_}};
        return FileSigner::open(host.host());
    }
    Error open_error() const {
        const auto opened = open();
        EXPECT_FALSE(opened);
        return opened ? Error{} : opened.error();
    }

    fs::path folder_;
    fs::path path_;
};

TEST_F(FileSignerTest, SignsWhatItsPublicKeyVerifies) {
    for (const auto type : {keys::KeyType::kEd25519, keys::KeyType::kEcdsa256, keys::KeyType::kRsa}) {
        const keys::PublicKey key = make_key(type);
        const auto signer = open();
        ASSERT_TRUE(signer) << signer.error().line();
        EXPECT_EQ(*(*signer)->public_keys(), std::vector<Bytes>{key.blob()});
        const auto signature = (*signer)->sign(key.blob(), as_bytes("data"));
        ASSERT_TRUE(signature) << signature.error().line();
        EXPECT_TRUE(key.verify(*signature, as_bytes("data")));
        EXPECT_FALSE(key.verify(*signature, as_bytes("date")));
    }
}

TEST_F(FileSignerTest, RefusesToSignForAKeyThatItDoesNotHold) {
    const keys::PublicKey other = make_key();
    make_key();
    const auto signer = open();
    EXPECT_EQ((*signer)->sign(other.blob(), as_bytes("data")).error().code, Code::kNotFound);
    EXPECT_EQ((*signer)->sign({}, as_bytes("data")).error().code, Code::kNotFound);
}

TEST_F(FileSignerTest, RefusesAKeyThatOthersMayRead) {
    make_key();
    for (const mode_t mode : {0640u, 0604u, 0620u, 0602u}) {
        ::chmod(path_.c_str(), mode);
        EXPECT_EQ(open_error().code, Code::kRefused) << std::oct << mode;
    }
    ::chmod(path_.c_str(), 0400);
    EXPECT_TRUE(open());
}

TEST_F(FileSignerTest, RefusesAKeyOfAnotherOwner) {
    if (::geteuid() != 0) GTEST_SKIP() << "only root can give a file away";
    make_key();
    ASSERT_EQ(::chown(path_.c_str(), 12345, 12345), 0);
    EXPECT_EQ(open_error().code, Code::kRefused);
}

TEST_F(FileSignerTest, RefusesWhatIsNoKeyAndNamesTheFile) {
    EXPECT_EQ(open_error().code, Code::kNotFound);
    ASSERT_TRUE(posix::write_file(path_, as_bytes("no key"), 0600));
    EXPECT_THAT(open_error().message, HasSubstr(path_.string()));
    ASSERT_TRUE(posix::write_file(path_, {}, 0600));
    EXPECT_FALSE(open());
}

TEST_F(FileSignerTest, NeedsTheSettingKeyAndNoOther) {
    const sdk::FakeHost none, more{{"key", path_}, {"passphrase", "x"}};
    EXPECT_EQ(FileSigner::open(none.host()).error().code, Code::kConfig);
    EXPECT_EQ(FileSigner::open(more.host()).error().code, Code::kConfig);
}

} // namespace
} // namespace latchkey::file_signer
