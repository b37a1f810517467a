// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <stdexcept>

#include "plugins/sdk/fake_host.h"
#include "plugins/sdk/plugin.h"

namespace latchkey::sdk {
namespace {

// A factor that does what its user's name says.
class Moody : public FactorPlugin {
public:
    static Result<std::unique_ptr<Moody>> open(const Host& host) {
        LK_CHECK(host.only({"mood"}));
        LK_TRY(mood, host.required("mood"));
        if (mood == "bad") throw std::runtime_error("not today");
        return std::make_unique<Moody>();
    }
    Result<Enrolment> enrol(std::string_view user, std::string_view, Micros) override {
        if (user == "throws") throw std::runtime_error("a secret of the state");
        if (user == "throws an int") throw 7;
        if (user == "fails") return fail(Code::kExists, "there already", "go away");
        return Enrolment{SecretBytes(as_bytes("state")), "text", "", "prompt", false};
    }
    Result<std::string> challenge(ByteView) override { return std::string("?"); }
    Result<CheckOutcome> check(ByteView, std::string_view, Micros) override {
        return fail(Code::kExpired, "too late");
    }
};

lk_error fresh_error() {
    lk_error error{};
    error.size = sizeof error;
    return error;
}

struct Opened {
    explicit Opened(const char* mood) : host{{"mood", mood}} {
        status = table.open(host.table(), &instance, &error);
    }
    ~Opened() {
        if (instance != nullptr) table.close(instance);
    }
    const lk_factor& factor() const { return *static_cast<const lk_factor*>(table.functions); }
    std::int32_t enrol(std::string_view user) {
        std::uint32_t confirm = 1;
        const lk_sink sink{
            this, [](void* self, std::uint32_t, lk_bytes) { return static_cast<Opened*>(self)->sink_says; }};
        return factor().enrol(instance, lend(user), lend("issuer"), 0, &sink, &confirm, &error);
    }

    FakeHost host;
    lk_plugin table = seam::make_table<Moody>("moody", "1");
    lk_instance* instance = nullptr;
    lk_error error = fresh_error();
    std::int32_t status = 0;
    std::int32_t sink_says = LK_OK;
};

TEST(Seam, FillsTheTableOfTheKindThatThePluginDerivesFrom) {
    const Opened good("good");
    EXPECT_EQ(good.status, LK_OK);
    EXPECT_EQ(good.table.size, sizeof(lk_plugin));
    EXPECT_EQ(good.table.kind, LK_KIND_FACTOR);
    EXPECT_EQ(good.table.abi_major, LK_ABI_MAJOR);
    EXPECT_STREQ(good.table.name, "moody");
    EXPECT_EQ(good.factor().size, sizeof(lk_factor));
}

TEST(Seam, PassesAFailureWithItsCodeAndBothTexts) {
    Opened good("good");
    EXPECT_EQ(good.enrol("bob"), LK_OK);
    EXPECT_EQ(good.enrol("fails"), LK_ERROR_EXISTS);
    EXPECT_STREQ(good.error.message, "there already");
    EXPECT_STREQ(good.error.next, "go away");
}

TEST(Seam, EndsEveryException) {
    Opened good("good");
    EXPECT_EQ(good.enrol("throws"), LK_ERROR_INTERNAL);
    EXPECT_STREQ(good.error.message, "the plugin threw: a secret of the state");
    EXPECT_EQ(good.enrol("throws an int"), LK_ERROR_INTERNAL);
    const Opened bad("bad");
    EXPECT_EQ(bad.status, LK_ERROR_INTERNAL);
    EXPECT_EQ(bad.instance, nullptr);
}

TEST(Seam, StopsWhereTheHostTakesNoMoreAndReturnsItsStatus) {
    Opened good("good");
    good.sink_says = LK_ERROR_TOO_LARGE;
    EXPECT_EQ(good.enrol("bob"), LK_ERROR_TOO_LARGE);
}

TEST(Codes, ComeBackAsTheySet) {
    for (std::int32_t status = LK_ERROR_USAGE; status <= LK_ERROR_INTERNAL; ++status) {
        EXPECT_EQ(status_of(code_of(status)), status);
    }
    EXPECT_EQ(code_of(9999), Code::kInternal);
    EXPECT_EQ(code_of(-1), Code::kInternal);
}

TEST(Codes, KnowEveryCodeOfOurs) {
    for (const CodeInfo& row : all_codes()) {
        const bool known = row.code == Code::kInternal || row.code == Code::kPartial ||
                           status_of(row.code) != LK_ERROR_INTERNAL;
        EXPECT_TRUE(known) << row.name;
    }
}

TEST(PutText, CutsBetweenCharactersAndTerminates) {
    char small[5];
    put_text(small, "ab\xc3\xa4\xc3\xb6");
    EXPECT_STREQ(small, "ab\xc3\xa4");
    put_text(small, "abc\xc3\xa4");
    EXPECT_STREQ(small, "abc");
    put_text(small, "");
    EXPECT_STREQ(small, "");
}

TEST(HostSettings, RefuseWhatIsMissingMisspeltOrNoNumber) {
    FakeHost fake{{"path", ""}, {"limit", "12x"}, {"big", "99"}};
    const Host host = fake.host();
    EXPECT_EQ(host.required("path").error().code, Code::kConfig);
    EXPECT_EQ(host.required("other").error().code, Code::kConfig);
    EXPECT_EQ(host.number("limit", 1, 0, 100).error().code, Code::kConfig);
    EXPECT_EQ(host.number("big", 1, 0, 98).error().code, Code::kConfig);
    EXPECT_EQ(*host.number("big", 1, 0, 99), 99);
    EXPECT_EQ(*host.number("absent", 1, 0, 99), 1);
    EXPECT_TRUE(host.only({"path", "limit", "big"}));
    EXPECT_NE(host.only({"path", "limit"}).error().message.find("big"), std::string::npos);
}

TEST(FakeHost, MovesItsClockByHandAndKeepsLogLines) {
    FakeHost fake;
    const Micros before = fake.host().now();
    fake.clock.advance(from_seconds(3));
    EXPECT_EQ((fake.host().now() - before).seconds(), 3);
    fake.host().log(LK_LOG_WARN, "opened late");
    EXPECT_EQ(fake.log(), std::vector<std::string>{"opened late"});
}

} // namespace
} // namespace latchkey::sdk
