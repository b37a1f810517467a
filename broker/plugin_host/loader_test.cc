// SPDX-License-Identifier: Apache-2.0
// What is refused before, at and after dlopen. The plugins under test are built from testing/.
#include "broker/plugin_host/loader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "plugins/sdk/latchkey_plugin.h"

namespace latchkey::plugin_host {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

const fs::path kOddPlugins = LK_ODD_PLUGINS;

class PlaceOfPlugin : public testing::Test {
protected:
    PlaceOfPlugin() {
        std::string name = (fs::temp_directory_path() / "lk-plugins-XXXXXX").string();
        root_ = ::mkdtemp(name.data());
        folder_ = root_ / "plugins";
        fs::create_directory(folder_);
        file_ = folder_ / "well.so";
        fs::copy_file(kOddPlugins / "well.so", file_);
        ::chmod(folder_.c_str(), 0755);
        ::chmod(file_.c_str(), 0644);
    }
    ~PlaceOfPlugin() override { fs::remove_all(root_); }

    Error load_error(std::string_view name = "well") {
        const auto loaded = Loader(folder_).factor(name, {});
        EXPECT_FALSE(loaded);
        return loaded ? Error{} : loaded.error();
    }
    bool loads() { return Loader(folder_, {}).factor("well", {}).has_value(); }

    fs::path root_, folder_, file_;
};

TEST_F(PlaceOfPlugin, IsRightWhereOnlyItsOwnerMayWrite) {
    EXPECT_TRUE(loads());
}

TEST_F(PlaceOfPlugin, IsRefusedWhereOthersMayWriteTheFile) {
    for (const mode_t mode : {0664u, 0646u, 0666u}) {
        ::chmod(file_.c_str(), mode);
        EXPECT_EQ(load_error().code, Code::kRefused) << std::oct << mode;
        EXPECT_THAT(load_error().next, HasSubstr("chmod go-w"));
    }
    ::chmod(file_.c_str(), 0644);
    EXPECT_TRUE(loads());
}

TEST_F(PlaceOfPlugin, IsRefusedWhereOthersMayWriteTheFolder) {
    for (const mode_t mode : {0775u, 0757u, 01777u}) {
        ::chmod(folder_.c_str(), mode);
        EXPECT_EQ(load_error().code, Code::kRefused) << std::oct << mode;
    }
    ::chmod(folder_.c_str(), 0755);
    EXPECT_TRUE(loads());
}

TEST_F(PlaceOfPlugin, IsRefusedWhereFileOrFolderIsAnotherUsers) {
    if (::geteuid() != 0) GTEST_SKIP() << "only root can give a file away";
    ASSERT_EQ(::chown(file_.c_str(), 12345, 0), 0);
    EXPECT_EQ(load_error().code, Code::kRefused);
    ASSERT_EQ(::chown(file_.c_str(), 0, 0), 0);
    ASSERT_EQ(::chown(folder_.c_str(), 12345, 0), 0);
    EXPECT_EQ(load_error().code, Code::kRefused);
    ASSERT_EQ(::chown(folder_.c_str(), 0, 0), 0);
    EXPECT_TRUE(loads());
}

TEST_F(PlaceOfPlugin, IsRefusedWhereALinkLeadsOutOfTheFolder) {
    fs::rename(file_, root_ / "well.so");
    fs::create_symlink(root_ / "well.so", file_);
    EXPECT_EQ(load_error().code, Code::kRefused);
    EXPECT_THAT(load_error().message, HasSubstr("leads out"));
}

TEST_F(PlaceOfPlugin, IsRightWhereALinkStaysInTheFolder) {
    fs::rename(file_, folder_ / "well-1.so");
    fs::create_symlink("well-1.so", file_);
    EXPECT_TRUE(loads());
}

TEST_F(PlaceOfPlugin, IsNeverLookedForUnderANameThatIsNone) {
    for (const char* name : {"", "../well", "/well", "Well", "well.so", "we ll", "well\n", "w_ell"}) {
        EXPECT_EQ(load_error(name).code, Code::kConfig) << name;
    }
    EXPECT_EQ(load_error(std::string(65, 'a')).code, Code::kConfig);
}

TEST_F(PlaceOfPlugin, IsNamedWhereThereIsNone) {
    EXPECT_EQ(load_error("absent").code, Code::kNotFound);
    EXPECT_THAT(load_error("absent").message, HasSubstr("absent.so"));
    folder_ = root_ / "nowhere";
    EXPECT_EQ(load_error().code, Code::kNotFound);
}

TEST_F(PlaceOfPlugin, MayHoldAFileThatIsNoLibraryAndIsToldSo) {
    std::ofstream(folder_ / "text.so") << "text";
    fs::create_directory(folder_ / "folder.so");
    EXPECT_EQ(load_error("text").code, Code::kMalformed);
    EXPECT_FALSE(Loader(folder_).factor("folder", {}));
}

class OddPlugin : public testing::Test {
protected:
    Error load_error(std::string_view name) {
        const auto loaded = Loader(kOddPlugins, {}).factor(name, {});
        EXPECT_FALSE(loaded) << name;
        return loaded ? Error{} : loaded.error();
    }
    std::unique_ptr<Factor> load(std::string_view name) {
        auto loaded = Loader(kOddPlugins, {}).factor(name, {});
        EXPECT_TRUE(loaded) << loaded.error().line();
        return loaded ? std::move(*loaded) : nullptr;
    }
    Result<CheckOutcome> check(std::string_view name) {
        return load(name)->check(SecretBytes(as_bytes("state")), "answer", Micros{});
    }
};

std::string version(unsigned major, unsigned minor) {
    return std::to_string(major) + "." + std::to_string(minor);
}

TEST_F(OddPlugin, OfAnotherMajorIsUnsupportedWithBothVersions) {
    const Error error = load_error("wrong-major");
    EXPECT_EQ(error.code, Code::kUnsupported);
    EXPECT_THAT(error.message, AllOf(HasSubstr(version(LK_ABI_MAJOR + 1, LK_ABI_MINOR)),
                                     HasSubstr(version(LK_ABI_MAJOR, LK_ABI_MINOR))));
}

TEST_F(OddPlugin, OfANewerMinorIsUnsupportedWithBothVersions) {
    const Error error = load_error("newer-minor");
    EXPECT_EQ(error.code, Code::kUnsupported);
    EXPECT_THAT(error.message, AllOf(HasSubstr(version(LK_ABI_MAJOR, LK_ABI_MINOR + 1)),
                                     HasSubstr(version(LK_ABI_MAJOR, LK_ABI_MINOR))));
}

TEST_F(OddPlugin, WithATableThatIsTooShortIsMalformed) {
    EXPECT_EQ(load_error("no-version").code, Code::kMalformed); // ends before the version
    EXPECT_EQ(load_error("no-functions").code, Code::kMalformed);
    EXPECT_EQ(load_error("short-functions").code, Code::kMalformed);
}

TEST_F(OddPlugin, WithALongerTableThanOursLoads) {
    EXPECT_TRUE(load("longer-table"));
}

TEST_F(OddPlugin, WithoutTheSymbolIsMalformed) {
    EXPECT_EQ(load_error("no-entry").code, Code::kMalformed);
    EXPECT_THAT(load_error("no-entry").message, HasSubstr(LK_PLUGIN_ENTRY));
}

TEST_F(OddPlugin, OfAnotherKindOrNameIsRefusedAsWhatItIs) {
    EXPECT_EQ(load_error("a-store").code, Code::kUnsupported);
    EXPECT_THAT(load_error("a-store").message, HasSubstr("is a store, not a factor"));
    EXPECT_EQ(load_error("no-kind").code, Code::kUnsupported);
    EXPECT_EQ(load_error("misnamed").code, Code::kMalformed);
    EXPECT_EQ(Loader(kOddPlugins).store("well", {}).error().code, Code::kUnsupported);
    EXPECT_EQ(Loader(kOddPlugins).ca_signer("well", {}).error().code, Code::kUnsupported);
}

TEST_F(OddPlugin, ThatOpensBadlyIsToldInOneLine) {
    EXPECT_EQ(load_error("opens-nothing").code, Code::kInternal);
    EXPECT_EQ(load_error("fails-silently").code, Code::kInternal);
    EXPECT_THAT(load_error("fails-silently").message, HasSubstr("4711"));
    const Error error = load_error("unterminated");
    EXPECT_EQ(error.code, Code::kConfig);
    EXPECT_EQ(error.line().find('\n'), std::string::npos);
    EXPECT_EQ(error.next.size(), std::size_t{LK_NEXT_SIZE});
}

TEST_F(OddPlugin, ThatReturnsNothingIsAFaultOfItsOwn) {
    EXPECT_EQ(load("well")->enrol("bob", "x", Micros{}).error().code, Code::kInternal);
    EXPECT_EQ(load("well")->challenge({}).error().code, Code::kInternal);
}

TEST_F(OddPlugin, AcceptsOnlyWithOneAndANextState) {
    EXPECT_TRUE(check("well")->accepted);
    EXPECT_EQ(check("no-state").error().code, Code::kInternal);
    EXPECT_FALSE(check("says-two")->accepted);
    EXPECT_EQ(check("huge-state").error().code, Code::kTooLarge);
}

TEST_F(OddPlugin, ThatThrowsIsStoppedAtTheSeam) {
    const auto factor = load("throws");
    EXPECT_EQ(factor->enrol("bob", "x", Micros{}).error().code, Code::kInternal);
    EXPECT_THAT(factor->enrol("bob", "x", Micros{}).error().message, HasSubstr("at enrol"));
    EXPECT_EQ(factor->challenge({}).error().code, Code::kInternal);
    EXPECT_FALSE(factor->check({}, "answer", Micros{}));
    EXPECT_EQ(load_error("throws-at-entry").code, Code::kMalformed);
}

TEST_F(OddPlugin, LogsThroughTheHostInOneLineWithItsName) {
    std::string logged;
    const auto keep = [&](LogLevel level, std::string_view plugin, std::string_view line) {
        EXPECT_EQ(level, LogLevel::kWarn);
        logged = std::string(plugin) + ": " + std::string(line);
    };
    EXPECT_TRUE(Loader(kOddPlugins, keep).factor("well", {}));
    EXPECT_EQ(logged, "well: opened with two lines");
}

TEST_F(OddPlugin, WrittenInPlainCWorks) {
    auto example = std::move(*Loader(LK_TEST_PLUGINS).factor("example", {}));
    EXPECT_EQ(example->kind(), "example");
    const auto made = example->enrol("bob", "Latchkey", Micros{});
    ASSERT_TRUE(made);
    EXPECT_FALSE(made->needs_confirmation);
    EXPECT_EQ(*example->challenge(made->state), "Your name: ");
    EXPECT_TRUE(example->check(made->state, "bob", Micros{})->accepted);
    EXPECT_EQ(example->check(made->state, "eve", Micros{})->reason, "wrong name");
    EXPECT_EQ(example->check({}, "eve", Micros{}).error().code, Code::kTampered);
    EXPECT_EQ(Loader(LK_TEST_PLUGINS).factor("example", {{"x", "y"}}).error().code, Code::kConfig);
}

} // namespace
} // namespace latchkey::plugin_host
