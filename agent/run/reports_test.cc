// SPDX-License-Identifier: Apache-2.0
#include "agent/run/reports.h"

#include <fcntl.h>
#include <sys/file.h>

#include <fstream>

#include "agent/fixture/whole_agent.h"
#include "agent/run/break_glass_spool.h"
#include "core/posix/file.h"
#include "core/protocol/managed_logins.h"

namespace latchkey::agent {
namespace {

using fixture::kNow;
using fixture::Running;
using ::testing::HasSubstr;

class ReportsTest : public fixture::WholeAgent {
protected:
    void use(const std::string& from) const {
        std::ofstream(folder_ / "state/break-glass-uses", std::ios::app)
            << protocol::encode_use({clock_.now(), *Login::parse("rescue"), "sshd", from});
    }
    bool spool_is_empty() const {
        return std::filesystem::file_size(folder_ / "state/break-glass-uses") == 0;
    }
    // In a short while: the disk is another thread's.
    template <class Condition>
    static bool soon(Condition holds) {
        for (int i = 0; i < 20'000 && !holds(); ++i)
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        return holds();
    }
    void say_recorded(fixture::HubConnection& broker, std::uint64_t id) const {
        protocol::Reported done;
        done.id = id;
        broker.say(done);
    }
};

TEST_F(ReportsTest, TellTheBrokerOfABreakGlassUseFromBeforeTheAgentRanAndAgainUntilItIsRecorded) {
    config_.break_glass = {*Login::parse("rescue")};
    use("192.0.2.9");
    std::uint64_t id = 0;
    {
        const Running agent(config_, clock_);
        EXPECT_TRUE(soon([&] { return spool_is_empty(); }));
        auto broker = hub_.accept();
        static_cast<void>(broker.take<protocol::Hello>());
        broker.say(welcome());
        const auto report = broker.take<protocol::Report>();
        id = report.id;
        EXPECT_EQ(report.kind, "break-glass");
        EXPECT_THAT(report.text, HasSubstr("rescue"));
        EXPECT_THAT(report.text, HasSubstr("192.0.2.9"));
    } // killed before the broker's answer came
    {
        const Running agent(config_, clock_);
        auto broker = hub_.accept();
        static_cast<void>(broker.take<protocol::Hello>());
        broker.say(welcome());
        EXPECT_EQ(broker.take<protocol::Report>().id, id);
        protocol::Revoke nothing; // caught up
        broker.say(nothing);
        static_cast<void>(broker.take<protocol::Receipt>());
        say_recorded(broker, id);
        broker.say(revoke_user(1, "alice")); // behind it
        static_cast<void>(broker.take<protocol::Receipt>());
        broker.say(revoke_user(2, "alice"));
        static_cast<void>(broker.take<protocol::Receipt>());
    }
    const auto left = state_.load_reports();
    ASSERT_TRUE(left);
    AgentState state(clock_);
    fixture::WritingHub hub;
    Reports reports(state, hub);
    ASSERT_TRUE(reports.restore(*left));
    EXPECT_TRUE(reports.waiting().empty());
}

TEST_F(ReportsTest, ListTheBreakGlassAccountsForPam) {
    config_.break_glass = {*Login::parse("rescue")};
    const Running agent(config_, clock_);
    EXPECT_TRUE(soon([&] {
        const auto list = posix::read_file(folder_ / "state/break-glass");
        return list && as_text(*list) == protocol::encode_managed_logins({*Login::parse("rescue")});
    }));
    protocol::AccountCheck check;
    check.login = *Login::parse("rescue");
    check.service = "sshd";
    EXPECT_EQ(ask<protocol::AccountAnswer>(check).verdict, protocol::Verdict::kUnmanaged);
}

TEST_F(ReportsTest, ComeBackFromTheirBytes) {
    AgentState state(clock_);
    fixture::WritingHub hub;
    Reports reports(state, hub);
    reports.add("disk", "before a broker was there");
    EXPECT_TRUE(hub.frames.empty());
    reports.go_online();
    reports.add("state", "torn");
    reports.add("state", "torn");
    EXPECT_EQ(hub.all<protocol::Report>().size(), 2U) << "the same words wait already";
    reports.add(protocol::BreakGlassUse{kNow, *Login::parse("rescue"), "login", ""});
    reports.add(protocol::BreakGlassUse{kNow, *Login::parse("rescue"), "login", ""});
    Reports later(state, hub);
    ASSERT_TRUE(later.restore(reports.encode()));
    ASSERT_EQ(later.waiting().size(), 3U);
    EXPECT_THAT(later.waiting()[2].text, HasSubstr("on the machine"));
    later.recorded(later.waiting()[0].id);
    EXPECT_EQ(later.waiting().size(), 2U);
    const Bytes whole = reports.encode();
    for (std::size_t size = 0; size < whole.size(); ++size)
        EXPECT_FALSE(later.restore(ByteView(whole).first(size))) << size;
}

TEST_F(ReportsTest, AreKeptToABoundedNumber) {
    AgentState state(clock_);
    fixture::WritingHub hub;
    Reports reports(state, hub);
    for (std::size_t i = 0; i < kMaxReports + 5; ++i) reports.add("state", std::to_string(i));
    ASSERT_EQ(reports.waiting().size(), kMaxReports);
    EXPECT_EQ(reports.waiting().back().text, std::to_string(kMaxReports + 4));
}

TEST_F(ReportsTest, LeaveASpoolThatIsBeingAddedTo) {
    use("192.0.2.9");
    const BreakGlassSpool spool(folder_ / "state");
    const auto read = spool.read();
    ASSERT_TRUE(read);
    {
        const UniqueFd writer(::open((folder_ / "state/break-glass-uses").c_str(), O_RDWR | O_CLOEXEC));
        ASSERT_EQ(::flock(writer.get(), LOCK_EX), 0);
        ASSERT_TRUE(spool.empty(read->size));
        EXPECT_FALSE(spool_is_empty());
    }
    use("192.0.2.10");
    ASSERT_TRUE(spool.empty(read->size));
    EXPECT_EQ(spool.read()->uses.uses.size(), 2U) << "what came since is not lost";
    ASSERT_TRUE(spool.empty(spool.read()->size));
    EXPECT_FALSE(spool.has_something());
}

} // namespace
} // namespace latchkey::agent
