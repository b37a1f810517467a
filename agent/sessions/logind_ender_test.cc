// SPDX-License-Identifier: Apache-2.0
// The rules of logind_ender.cc against a logind that lies as the real ones do; the processes are real.
#include "agent/sessions/logind_ender.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "agent/sessions/few_descriptors_for_test.h"
#include "agent/sessions/process_tree_for_test.h"
#include "agent/sessions/stray_sshd.h"

namespace latchkey::agent {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr const char* kId = "lktest-7"; // no scope of that name exists

struct Script {
    LogindSession session{kId, 0, "active", "user"};
    int opening_reads = 0; // so many times the session is still opening
    std::function<void()> on_terminate = [] {};
    std::function<void(Whom, int)> on_kill = [](Whom, int) {};
    std::vector<std::string> calls;
};

class FakeLogind : public Logind {
public:
    explicit FakeLogind(Script& script) : script_(script) {}

    Result<LogindSession> session(const std::string& id) override {
        if (id != script_.session.id) return fail(Code::kNotFound, "no such session");
        return read();
    }
    Result<LogindSession> session_led_by(pid_t leader) override {
        if (leader != script_.session.leader) return fail(Code::kNotFound, "no such session");
        return read();
    }
    Status terminate(const std::string& id) override {
        script_.calls.push_back("terminate " + id);
        if (script_.opening_reads > 0) ADD_FAILURE() << "logind would lose the session and let sshd go on";
        script_.on_terminate();
        return {};
    }
    Status kill(const std::string& id, Whom whom, int signal) override {
        script_.calls.push_back("kill " + id + (whom == Whom::kAll ? " all " : " leader ") +
                                std::to_string(signal));
        script_.on_kill(whom, signal);
        return fail(Code::kUnavailable, "answers are not believed anyway");
    }

private:
    LogindSession read() {
        LogindSession now = script_.session;
        if (script_.opening_reads > 0) {
            --script_.opening_reads;
            now.state = "opening";
        }
        return now;
    }

    Script& script_;
};

class LogindEnderTest : public ::testing::Test {
protected:
    EndResult end(const ProcessId& monitor, const std::string& recorded = "") {
        LogindEnder ender([this](const posix::Deadline&) -> Result<std::unique_ptr<Logind>> {
            return std::unique_ptr<Logind>(std::make_unique<FakeLogind>(script_));
        });
        BoundSession session;
        session.monitor = monitor;
        session.logind_session = recorded;
        return ender.end(session, posix::Deadline::after(from_seconds(20)));
    }
    void kill_all() {
        for (const ProcessId& id : tree_.ids()) ::kill(id.pid, SIGKILL);
    }

    Script script_;
    // A monitor that SIGTERM does not end, so that all the steps are seen.
    ProcessTree tree_{1, [](int report_fd) {
                          ::signal(SIGTERM, SIG_IGN);
                          ProcessTree::start(report_fd);
                      }};
};

TEST_F(LogindEnderTest, TerminatesTheSessionOfThisMonitorAndNoMore) {
    script_.session.leader = tree_.root().pid;
    script_.on_terminate = [this] { kill_all(); };
    EXPECT_EQ(end(tree_.root(), kId), EndResult::kGone);
    EXPECT_EQ(tree_.alive(), 0);
    EXPECT_THAT(script_.calls, ElementsAre("terminate lktest-7"));
}

TEST_F(LogindEnderTest, WaitsWhileTheSessionIsOpening) {
    script_.session.leader = tree_.root().pid;
    script_.opening_reads = 4;
    script_.on_terminate = [this] { kill_all(); };
    EXPECT_EQ(end(tree_.root()), EndResult::kGone);
    EXPECT_THAT(script_.calls, ElementsAre("terminate lktest-7"));
}

TEST_F(LogindEnderTest, EscalatesStepByStepWhereTerminateHasNoEffect) {
    script_.session.leader = tree_.root().pid;
    script_.on_kill = [this](Whom whom, int signal) {
        if (whom == Whom::kAll && signal == SIGKILL) kill_all();
    };
    EXPECT_EQ(end(tree_.root(), kId), EndResult::kGone);
    EXPECT_EQ(tree_.alive(), 0);
    EXPECT_THAT(script_.calls, ElementsAre("terminate lktest-7", "kill lktest-7 leader 15",
                                           "kill lktest-7 all 15", "kill lktest-7 all 9"));
}

TEST_F(LogindEnderTest, EndsTheProcessesItselfWhereLogindOnlyPretends) {
    script_.session.leader = tree_.root().pid;
    EXPECT_EQ(end(tree_.root(), kId), EndResult::kGone);
    EXPECT_EQ(tree_.alive(), 0);
}

TEST_F(LogindEnderTest, DoesNotTakeTheLeadersDeathForTheEnd) {
    script_.session.leader = tree_.root().pid;
    script_.on_terminate = [this] { ::kill(tree_.root().pid, SIGKILL); }; // its child lives on
    EXPECT_EQ(end(tree_.root(), kId), EndResult::kGone);
    EXPECT_EQ(tree_.alive(), 0);
    EXPECT_GT(script_.calls.size(), 1U);
}

TEST_F(LogindEnderTest, KillsAtOnceWhereTheSessionIsClosing) {
    script_.session.leader = tree_.root().pid;
    script_.session.state = "closing";
    script_.on_kill = [this](Whom, int) { kill_all(); };
    EXPECT_EQ(end(tree_.root(), kId), EndResult::kGone);
    EXPECT_THAT(script_.calls, ElementsAre("kill lktest-7 leader 15", "kill lktest-7 all 15"));
}

TEST_F(LogindEnderTest, TerminatesNoSessionThatAnotherLeads) {
    script_.session.leader = ::getppid(); // a server started by hand sits in somebody's session
    EXPECT_EQ(end(tree_.root(), kId), EndResult::kGone);
    EXPECT_EQ(tree_.alive(), 0);
    EXPECT_THAT(script_.calls, IsEmpty());
}

TEST_F(LogindEnderTest, TerminatesNoManagerOfAUser) {
    script_.session.leader = tree_.root().pid;
    script_.session.session_class = "manager";
    EXPECT_EQ(end(tree_.root(), kId), EndResult::kGone);
    EXPECT_THAT(script_.calls, IsEmpty());
}

TEST_F(LogindEnderTest, EndsWhatADeadMonitorLeftInItsSession) {
    script_.session.leader = tree_.root().pid;
    script_.session.state = "closing";
    kill_all();
    ASSERT_EQ(::waitpid(tree_.root().pid, nullptr, 0), tree_.root().pid);
    EXPECT_EQ(end(tree_.root(), kId), EndResult::kGone);
    EXPECT_THAT(script_.calls, ElementsAre("kill lktest-7 leader 15", "kill lktest-7 all 15"));
}

TEST_F(LogindEnderTest, TouchesNoOtherSessionThatHasTheDeadMonitorsPid) {
    script_.session.leader = tree_.root().pid;
    kill_all();
    ASSERT_EQ(::waitpid(tree_.root().pid, nullptr, 0), tree_.root().pid);
    EXPECT_EQ(end(tree_.root(), "another"), EndResult::kGone);
    EXPECT_THAT(script_.calls, IsEmpty());
}

TEST_F(LogindEnderTest, TouchesNoSessionWhoseLeaderGotTheMonitorsPid) {
    script_.session.leader = tree_.root().pid;
    ProcessId before = tree_.root();
    --before.start_ticks;
    EXPECT_EQ(end(before, kId), EndResult::kGone);
    EXPECT_THAT(script_.calls, IsEmpty());
    EXPECT_EQ(tree_.alive(), 2);
}

TEST_F(LogindEnderTest, SaysWhichLeaderHasNoSession) {
    script_.session.leader = tree_.root().pid;
    const LogindEnder ender([this](const posix::Deadline&) -> Result<std::unique_ptr<Logind>> {
        return std::unique_ptr<Logind>(std::make_unique<FakeLogind>(script_));
    });
    EXPECT_FALSE(ender.is_without_session(tree_.root()));
    EXPECT_TRUE(ender.is_without_session(tree_.ids()[1]));
    const LogindEnder without_bus([](const posix::Deadline&) -> Result<std::unique_ptr<Logind>> {
        return fail(Code::kUnavailable, "no bus");
    });
    EXPECT_FALSE(without_bus.is_without_session(tree_.ids()[1])) << "not known, so nobody is ended for it";
}

TEST_F(LogindEnderTest, CutsTheConnectionBeforeItAsksTheBus) {
    const ProcessTree sshd(0, [](int) {});
    bool was_cut_first = false;
    LogindEnder ender([&](const posix::Deadline& deadline) -> Result<std::unique_ptr<Logind>> {
        while (process_of(sshd.root().pid) && !deadline.passed()) ::usleep(1000);
        was_cut_first = !process_of(sshd.root().pid);
        return fail(Code::kUnavailable, "a bus that hangs");
    });
    BoundSession session;
    session.monitor = sshd.root();
    EXPECT_EQ(ender.end(session, posix::Deadline::after(from_seconds(20))), EndResult::kGone);
    EXPECT_TRUE(was_cut_first);
}

TEST_F(LogindEnderTest, EndsTheProcessesWithoutABus) {
    LogindEnder ender([](const posix::Deadline&) -> Result<std::unique_ptr<Logind>> {
        return fail(Code::kUnavailable, "no bus");
    });
    BoundSession session;
    session.monitor = tree_.root();
    EXPECT_EQ(ender.end(session, posix::Deadline::after(from_seconds(20))), EndResult::kGone);
    EXPECT_EQ(tree_.alive(), 0);
}

// A monitor that SIGTERM does not end, and what somebody keeps running who does not want to be cut off.
class CrowdTest : public ::testing::Test {
protected:
    static constexpr int kCrowd = 40;

    EndResult end(std::size_t descriptors, Micros patience) {
        LogindEnder ender([](const posix::Deadline&) -> Result<std::unique_ptr<Logind>> {
            return fail(Code::kUnavailable, "no bus");
        });
        BoundSession session;
        session.monitor = tree_.root();
        const FewDescriptors few(descriptors);
        return ender.end(session, posix::Deadline::after(patience));
    }

    ProcessTree tree_{kCrowd, [](int report_fd) {
                          ::signal(SIGTERM, SIG_IGN);
                          for (int i = 0; i < kCrowd; ++i) ProcessTree::start(report_fd);
                      }};
};

TEST_F(CrowdTest, IsEndedThoughItIsMoreThanThereAreDescriptors) {
    EXPECT_EQ(end(20, from_seconds(20)), EndResult::kGone);
    EXPECT_EQ(tree_.alive(), 0);
}

// UBSan looks through a pipe at an object that it does not know yet, and calls it invalid where it can make
// none.
#if defined(__has_feature)
#if __has_feature(undefined_behavior_sanitizer)
#define LK_NEEDS_DESCRIPTORS 1
#endif
#endif

TEST_F(CrowdTest, IsNeverCalledGoneWhereNothingCanBeRead) {
#if defined(LK_NEEDS_DESCRIPTORS)
    GTEST_SKIP() << "UBSan itself needs descriptors: the plain builds run this one";
#endif
    EXPECT_EQ(end(0, from_millis(100)), EndResult::kStillThere);
    EXPECT_EQ(tree_.alive(), kCrowd + 1);
    EXPECT_EQ(end(20, from_seconds(20)), EndResult::kGone) << "once that has passed";
    EXPECT_EQ(tree_.alive(), 0);
}

// What sshd calls itself is all that tells a stray, so anything may pose as one here.
TEST_F(LogindEnderTest, TakesForStraysWhatALogindThatAnswersKnowsNothingOf) {
    const ProcessTree posing(0, [](int) { ::execl("/bin/sleep", "sshd: root@lk", "600", nullptr); });
    const auto has_it = [&](const std::vector<Stray>& strays) {
        return std::any_of(strays.begin(), strays.end(),
                           [&](const Stray& stray) { return stray.monitor == posing.root(); });
    };
    const auto deadline = posix::Deadline::after(from_seconds(20));
    while (title_of(posing.root().pid) != "sshd: root@lk 600" && !deadline.passed()) ::usleep(1000);
    if (!has_it(find_stray_sshds())) GTEST_SKIP() << "not root, or in a session's scope";
    const LogindEnder asking([this](const posix::Deadline&) -> Result<std::unique_ptr<Logind>> {
        return std::unique_ptr<Logind>(std::make_unique<FakeLogind>(script_));
    });
    EXPECT_TRUE(has_it(asking.strays()));
    script_.session.leader = posing.root().pid;
    EXPECT_FALSE(has_it(asking.strays())) << "it has a session";
    const LogindEnder without_bus([](const posix::Deadline&) -> Result<std::unique_ptr<Logind>> {
        return fail(Code::kUnavailable, "no bus");
    });
    EXPECT_FALSE(has_it(without_bus.strays())) << "no session is logind's here";
}

} // namespace
} // namespace latchkey::agent
