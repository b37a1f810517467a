// SPDX-License-Identifier: Apache-2.0
#include "agent/gate/explain.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/fixture/gate_house.h"

namespace latchkey::agent {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class ExplainTest : public ::testing::Test, protected fixture::GateHouse {
protected:
    std::vector<std::string> lines() const {
        return explain(state, sessions.all(), issuer.login, issuer.key());
    }
    // The verdict, which has to be what the helper is then told.
    std::string verdict() {
        const std::string line = lines().back();
        ask(question());
        EXPECT_EQ(line.starts_with("allowed"), is_allowed()) << line;
        EXPECT_EQ(line.starts_with("denied"), is_denied()) << line;
        EXPECT_EQ(line.starts_with("open"), !answer.has_value()) << line;
        return line;
    }
};

TEST_F(ExplainTest, SaysThatTheBrokerWouldBeAskedWhereNothingIsHeld) {
    EXPECT_THAT(verdict(), StartsWith("open: no grant held"));
    EXPECT_THAT(lines(), Contains("grant: none held"));
}

TEST_F(ExplainTest, AllowsWhatAHeldGrantAllowsAndSaysHowLong) {
    fetches.take(issuer.make());
    EXPECT_EQ(verdict(), "allowed: granted to bob");
    EXPECT_THAT(lines(), Contains(HasSubstr("grant: held for bob, certificate 7, ends in")));
}

TEST_F(ExplainTest, DeniesAfterARevocationAndNamesItsEpoch) {
    fetches.take(issuer.make());
    revoke("key", issuer.key().str());
    EXPECT_THAT(lines(), Contains(HasSubstr("is revoked by epoch 1 (key)")));
    EXPECT_THAT(lines(), Contains(HasSubstr("revoked by epoch 1")));
    EXPECT_THAT(verdict(), StartsWith("open"))
        << "the broker says no, and may say yes to a newer certificate";
}

TEST_F(ExplainTest, DeniesWithoutABrokerWhatIsNotHeldAndAllowsWhatIs) {
    state.lease.go_offline();
    EXPECT_THAT(verdict(), StartsWith("denied: no broker, and no grant held"));
    state.lease.go_online();
    fetches.take(issuer.make());
    state.grants.make_stale();
    EXPECT_THAT(verdict(), StartsWith("open")) << "after a Refresh it is asked again";
    state.lease.go_offline();
    EXPECT_THAT(verdict(), StartsWith("allowed"));
    EXPECT_THAT(lines(), Contains(StartsWith("lease: without a broker; held grants are served for another")));
}

TEST_F(ExplainTest, DeniesOnceTheLeaseIsOver) {
    fetches.take(issuer.make());
    state.lease.go_offline();
    clock.advance(from_seconds(100'000));
    EXPECT_THAT(verdict(), StartsWith("denied: no broker, and the time"));
}

TEST_F(ExplainTest, DeniesWithTroubleAndForLocalLogins) {
    fetches.take(issuer.make());
    state.troubles.set(TroubleKind::kState, "revocations: torn");
    EXPECT_EQ(verdict(), "denied: revocations: torn");
    state.troubles.clear(TroubleKind::kState);
    state.local.insert(issuer.login);
    EXPECT_THAT(verdict(), StartsWith("denied: a local login"));
    EXPECT_THAT(lines(), Contains(HasSubstr("break-glass")));
}

} // namespace
} // namespace latchkey::agent
