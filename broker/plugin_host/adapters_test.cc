// SPDX-License-Identifier: Apache-2.0
// The in-tree plugins as the broker sees them: loaded from their files, through the whole seam.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "broker/plugin_host/loader.h"
#include "core/keys/private_key.h"

namespace latchkey::plugin_host {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;

class StoreThroughSeam : public testing::Test {
protected:
    void SetUp() override {
        auto store = Loader(LK_PLUGINS).store("sqlite", {{"path", ":memory:"}, {"busy_timeout_ms", "0"}});
        ASSERT_TRUE(store) << store.error().line();
        store_ = std::move(*store);
        one_ = std::move(*store_->connect());
        two_ = std::move(*store_->connect());
        ASSERT_TRUE(one_->run_script("CREATE TABLE t(id BIGINT PRIMARY KEY, name TEXT, data BLOB)"));
    }
    Status insert(Connection& connection, std::int64_t id) {
        const Value values[] = {id};
        LK_CHECK(connection.run("INSERT INTO t(id) VALUES ($1)", values));
        return {};
    }
    std::vector<std::int64_t> ids(Connection& connection) {
        std::vector<std::int64_t> found;
        const auto ran = connection.run("SELECT id FROM t ORDER BY id", {});
        EXPECT_TRUE(ran);
        for (const auto& row : ran->rows) found.push_back(std::get<std::int64_t>(row[0]));
        return found;
    }

    std::unique_ptr<Store> store_;
    std::unique_ptr<Connection> one_, two_;
};

TEST_F(StoreThroughSeam, CarriesValuesBothWays) {
    EXPECT_EQ(store_->dialect(), "sqlite");
    const Value values[] = {std::int64_t{-5}, std::string("n\0me", 4), Bytes{0, 255}};
    const auto made = one_->run("INSERT INTO t VALUES ($1, $2, $3) RETURNING *, NULL", values);
    ASSERT_TRUE(made) << made.error().line();
    EXPECT_EQ(made->changed, 1);
    ASSERT_EQ(made->rows.size(), 1u);
    EXPECT_THAT(made->rows[0], ElementsAre(values[0], values[1], values[2], Value(Null{})));
}

TEST_F(StoreThroughSeam, KeepsCommitsAndSavepointsApart) {
    ASSERT_TRUE(one_->begin(true));
    ASSERT_TRUE(one_->savepoint());
    ASSERT_TRUE(insert(*one_, 1));
    ASSERT_TRUE(one_->release_savepoint());
    ASSERT_TRUE(one_->savepoint());
    ASSERT_TRUE(insert(*one_, 2));
    ASSERT_TRUE(one_->rollback_to_savepoint());
    EXPECT_TRUE(one_->release_savepoint()) << "after rollback_to there is nothing to release";
    ASSERT_TRUE(one_->commit());
    EXPECT_THAT(ids(*two_), ElementsAre(1));
}

TEST_F(StoreThroughSeam, CarriesTheCodeOfAConflictAndOfADuplicate) {
    ASSERT_TRUE(insert(*one_, 1));
    EXPECT_EQ(insert(*one_, 1).error().code, Code::kExists);
    ASSERT_TRUE(one_->begin(true));
    EXPECT_EQ(two_->begin(true).error().code, Code::kConflict);
}

TEST_F(StoreThroughSeam, RefusesCallsInAnOrderThatIsNone) {
    EXPECT_EQ(one_->commit().error().code, Code::kUsage);
    EXPECT_EQ(one_->savepoint().error().code, Code::kUsage);
    EXPECT_EQ(one_->release_savepoint().error().code, Code::kUsage);
    EXPECT_EQ(one_->rollback_to_savepoint().error().code, Code::kUsage);
    EXPECT_TRUE(one_->rollback());
    ASSERT_TRUE(one_->begin(true));
    EXPECT_EQ(one_->begin(true).error().code, Code::kUsage);
    ASSERT_TRUE(one_->savepoint());
    EXPECT_EQ(one_->savepoint().error().code, Code::kUsage);
}

TEST_F(StoreThroughSeam, HasNoTransactionAfterACommitThatFailed) {
    ASSERT_TRUE(one_->begin(true));
    ASSERT_TRUE(insert(*one_, 1));
    ASSERT_TRUE(one_->savepoint());
    EXPECT_FALSE(one_->commit()); // inside a savepoint
    EXPECT_THAT(ids(*two_), ElementsAre());
    ASSERT_TRUE(one_->begin(true));
    ASSERT_TRUE(insert(*one_, 2));
    ASSERT_TRUE(one_->commit());
    EXPECT_THAT(ids(*two_), ElementsAre(2));
}

TEST_F(StoreThroughSeam, LivesAsLongAsItsLastConnection) {
    store_.reset();
    EXPECT_TRUE(insert(*one_, 1));
    EXPECT_THAT(ids(*two_), ElementsAre(1));
}

TEST_F(StoreThroughSeam, ServesConnectionsFromManyThreads) {
    const auto patient = std::move(*Loader(LK_PLUGINS).store("sqlite", {{"path", ":memory:"}}));
    const auto keep = std::move(*patient->connect());
    ASSERT_TRUE(keep->run_script("CREATE TABLE t(id BIGINT PRIMARY KEY)"));
    const auto work = [&](std::int64_t first) {
        auto connected = patient->connect();
        ASSERT_TRUE(connected) << connected.error().line();
        for (std::int64_t id = first; id < first + 20; ++id) EXPECT_TRUE(insert(**connected, id));
    };
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) threads.emplace_back(work, i * 100);
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(ids(*keep).size(), 80u);
}

TEST(FactorThroughSeam, EnrolsAsksAndChecks) {
    for (const char* name : {"totp", "recovery"}) {
        auto factor = Loader(LK_PLUGINS).factor(name, {});
        ASSERT_TRUE(factor) << factor.error().line();
        EXPECT_EQ((*factor)->kind(), name);
        auto made = (*factor)->enrol("bob", "Latchkey", SystemClock().now());
        ASSERT_TRUE(made) << made.error().line();
        EXPECT_FALSE(made->show_text.empty());
        EXPECT_FALSE((*factor)->challenge(made->state)->empty());
        const auto wrong = (*factor)->check(made->state, "no code", SystemClock().now());
        ASSERT_TRUE(wrong);
        EXPECT_FALSE(wrong->accepted);
        EXPECT_EQ(wrong->reason, "wrong code");
        EXPECT_EQ((*factor)->check({}, "no code", SystemClock().now()).error().code, Code::kTampered);
    }
}

TEST(FactorThroughSeam, AcceptsARecoveryCodeOnceAndHandsBackTheNextState) {
    auto factor = std::move(*Loader(LK_PLUGINS).factor("recovery", {}));
    auto made = std::move(*factor->enrol("bob", "Latchkey", Micros{}));
    const std::size_t dash = made.show_text.rfind('-');
    const std::string code = made.show_text.substr(dash - 5, 11);
    auto right = factor->check(made.state, code, Micros{});
    ASSERT_TRUE(right->accepted);
    EXPECT_LT(right->next_state.size(), made.state.size());
    EXPECT_FALSE(factor->check(right->next_state, code, Micros{})->accepted);
}

TEST(SignerThroughSeam, SignsWithTheKeyOfItsFileAndNoOther) {
    std::string name = (fs::temp_directory_path() / "lk-ca-XXXXXX").string();
    const fs::path folder = ::mkdtemp(name.data());
    const auto key = keys::PrivateKey::generate(keys::KeyType::kEd25519);
    const auto other = keys::PrivateKey::generate(keys::KeyType::kEd25519);
    std::ofstream(folder / "ca") << as_text(key->to_openssh_pem("ca").view());
    ::chmod((folder / "ca").c_str(), 0600);

    const auto signer = Loader(LK_PLUGINS).ca_signer("file-signer", {{"key", folder / "ca"}});
    ASSERT_TRUE(signer) << signer.error().line();
    EXPECT_THAT(*(*signer)->public_keys(), ElementsAre(key->public_key()));
    const auto signature = (*signer)->sign(key->public_key(), as_bytes("data"));
    ASSERT_TRUE(signature);
    EXPECT_TRUE(key->public_key().verify(*signature, as_bytes("data")));
    EXPECT_EQ((*signer)->sign(other->public_key(), as_bytes("data")).error().code, Code::kNotFound);
    fs::remove_all(folder);
    EXPECT_FALSE(Loader(LK_PLUGINS).ca_signer("file-signer", {{"key", folder / "ca"}}));
}

} // namespace
} // namespace latchkey::plugin_host
