// SPDX-License-Identifier: Apache-2.0
#include "broker/desk/desk_for_tests.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "core/cert/certificate.h"

namespace latchkey::desk {
namespace {

using ledger::Role;
using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

class Desk : public DeskTest {
protected:
    Desk() : admin_(add_member("admin", Role::kAdmin)), bob_(add_member("bob")) {
        open_unlock(admin_);
        out(admin_, "group add dev");
        out(admin_, "group join dev bob");
        out(admin_, "grant add --group dev --vm 'web-*' --login deploy --allow pty");
    }
    json as_json(const Member& member, const std::string& line) {
        return json::parse(out(member, line + " --json"), nullptr, false);
    }

    Member admin_;
    Member bob_;
};

TEST_F(Desk, GivesExactlyTheCertificateLine) {
    open_unlock(bob_);
    const std::string line = out(bob_, "cert");
    ASSERT_TRUE(line.ends_with("\n"));
    EXPECT_EQ(line.find('\n'), line.size() - 1);
    const auto certificate = ledger::take(cert::Certificate::from_line(line.substr(0, line.size() - 1)));
    EXPECT_EQ(certificate.content().principals, std::vector<std::string>{"deploy"});
    EXPECT_EQ(console_.stderr_text, "");
}

TEST_F(Desk, GivesNoCertificateWithoutUnlock) {
    EXPECT_EQ(run(bob_, "cert"), 1);
    EXPECT_EQ(console_.stdout_text, "");
    EXPECT_THAT(console_.stderr_text, HasSubstr("run: ssh -t -p 2222 bob@broker.example.org cert"));
}

TEST_F(Desk, AsksForTheFactorInTheChannelAndGoesOn) {
    console_.lines = {next_code(bob_)};
    EXPECT_THAT(out(bob_, "cert"), HasSubstr("cert-v01@openssh.com"));
    EXPECT_EQ(fleet_->prefetches, 1);
}

TEST_F(Desk, RefusesACodeUsedTwice) {
    const std::string code = next_code(bob_);
    console_.lines = {code};
    out(bob_, "cert");
    out(bob_, "lock");
    console_.lines = {code};
    EXPECT_EQ(run(bob_, "cert"), 1);
}

} // namespace
} // namespace latchkey::desk
