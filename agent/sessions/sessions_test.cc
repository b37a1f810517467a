// SPDX-License-Identifier: Apache-2.0
#include "agent/sessions/sessions.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <algorithm>
#include <fstream>

#include "agent/sessions/few_descriptors_for_test.h"
#include "agent/sessions/footprint.h"
#include "agent/sessions/process_tree_for_test.h"
#include "agent/sessions/stray_sshd.h"
#include "agent/sessions/tree_ender.h"
#include "agent/sessions/user_jobs.h"

namespace latchkey::agent {
namespace {

posix::Deadline soon() {
    return posix::Deadline::after(from_seconds(20));
}

BoundSession bound_to(const ProcessId& monitor) {
    BoundSession session;
    session.monitor = monitor;
    session.login = *Login::parse("alice");
    return session;
}

EndResult end_tree(const ProcessId& monitor) {
    return TreeEnder().end(bound_to(monitor), soon());
}

TEST(ProcessTest, IsNamedByPidAndStartTime) {
    const auto self = process_of(::getpid());
    ASSERT_TRUE(self);
    EXPECT_EQ(self->pid, ::getpid());
    EXPECT_GT(self->start_ticks, 0U);
    EXPECT_EQ(process_of(0x7fffffff).error().code, Code::kNotFound);
}

TEST(ProcessTest, CountsAsGoneOnceItIsAZombie) {
    const pid_t pid = ::fork();
    if (pid == 0) ::_exit(0);
    siginfo_t info;
    ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT), 0);
    EXPECT_EQ(process_of(pid).error().code, Code::kNotFound);
    ::waitpid(pid, nullptr, 0);
}

TEST(ProcessTest, TellsWhetherAnythingWasStarted) {
    const pid_t before = newest_process();
    ASSERT_NE(before, 0);
    const pid_t child = ::fork();
    if (child == 0) ::_exit(0);
    ::waitpid(child, nullptr, 0);
    EXPECT_NE(newest_process(), before);
}

TEST(ProcessTest, MayHaveAnyName) {
    ProcessTree tree(1, [](int report_fd) {
        ProcessTree::start(report_fd, [](int) { ::prctl(PR_SET_NAME, ") Z 1 (", 0, 0, 0); });
    });
    EXPECT_EQ(tree.alive(), 2);
    EXPECT_EQ(*parent_of(tree.ids()[1]), tree.root());
}

TEST(ProcessTest, HasAParentOnlyWhileItIsTheSameProcess) {
    ProcessTree tree(0, [](int) {});
    EXPECT_EQ(*parent_of(tree.root()), *process_of(::getpid()));
    ProcessId another = tree.root();
    ++another.start_ticks;
    EXPECT_EQ(parent_of(another).error().code, Code::kNotFound);
    EXPECT_EQ(HeldProcess::hold(another).error().code, Code::kNotFound);
    EXPECT_TRUE(HeldProcess::hold(tree.root()));
}

TEST(ProcessTest, IsAliveWhileAThreadOfItIs) {
    ProcessTree tree(1, [](int report_fd) {
        ProcessTree::start(report_fd, [](int fd) {
            pthread_t thread;
            const auto run = [](void* arg) -> void* {
                // Reports once the first thread has gone, which /proc shows as a zombie.
                while (facts_of(::getpid())->state != 'Z') ::usleep(1000);
                ProcessTree::report(*static_cast<int*>(arg));
                for (;;) ::pause();
            };
            ::pthread_create(&thread, nullptr, run, &fd);
            ::syscall(SYS_exit, 0); // this thread alone
        });
    });
    EXPECT_EQ(tree.alive(), 2);
    const auto held = HeldProcess::hold(tree.ids()[1]);
    ASSERT_TRUE(held);
    EXPECT_FALSE(held->is_gone());
    EXPECT_EQ(end_tree(tree.root()), EndResult::kGone);
    EXPECT_TRUE(held->is_gone());
}

TEST(ScopeTest, IsReadFromTheCgroupLines) {
    EXPECT_EQ(scope_in("0::/user.slice/user-1000.slice/session-12.scope\n"), "12");
    EXPECT_EQ(scope_in("4:memory:/x\n1:name=systemd:/user.slice/session-c3.scope\n0::/\n"), "c3");
    EXPECT_EQ(scope_in("0::/user.slice/user-0.slice/session-7.scope/made/below\n"), "7");
    EXPECT_EQ(scope_in("0::/system.slice/ssh.service\n"), "");
    EXPECT_EQ(scope_in("0::/user.slice/session-.scope\n"), "");
    EXPECT_EQ(scope_in("0::/user.slice/session-12.service\n"), "");
    EXPECT_EQ(scope_in(""), "");
}

TEST(StraySshdTest, ReadsWhatSshdCallsItself) {
    EXPECT_EQ(monitored_login("sshd: alice [priv]")->str(), "alice");
    EXPECT_EQ(monitored_login("sshd-session: alice [priv]")->str(), "alice");
    EXPECT_FALSE(monitored_login("sshd: alice [net]"));
    EXPECT_FALSE(monitored_login("sshd: alice@pts/0"));
    EXPECT_FALSE(monitored_login("sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups"));
    EXPECT_FALSE(monitored_login("vim sshd: alice [priv]"));
    EXPECT_EQ(served_login("sshd: root@pts/0")->str(), "root");
    EXPECT_EQ(served_login("sshd-session: alice@notty")->str(), "alice");
    EXPECT_FALSE(served_login("sshd: alice [priv]"));
    EXPECT_FALSE(served_login(""));
}

TEST(UserJobsTest, AreWhatTheManagerRanBesideItself) {
    const std::string base = "0::/user.slice/user-1000.slice/";
    EXPECT_TRUE(is_user_job(base + "user@1000.service/app.slice/run-r1.service\n", 1000));
    EXPECT_TRUE(is_user_job(base + "user@1000.service/run-u7.scope\n", 1000));
    EXPECT_FALSE(is_user_job(base + "user@1000.service/init.scope\n", 1000));
    EXPECT_FALSE(is_user_job(base + "session-4.scope\n", 1000));
    EXPECT_FALSE(is_user_job(base + "user@1000.service/app.slice/run-r1.service\n", 100));
    EXPECT_TRUE(is_session_of(base + "session-4.scope\n", 1000));
    EXPECT_FALSE(is_session_of(base + "session-4.scope\n", 100));
    EXPECT_FALSE(is_session_of(base + "user@1000.service/app.slice/run-r1.service\n", 1000));
}

TEST(UserJobsTest, HasNothingToEndForAnAccountThatDoesNotExist) {
    BoundSession session = bound_to(ProcessId{10, 100});
    session.login = *Login::parse("lk-no-such-account");
    EXPECT_EQ(end_user_jobs(std::span(&session, 1), soon()), EndResult::kGone);
}

TEST(ProcessTest, ShowsItsTitleAndItsOwner) {
    ProcessTree tree(0, [](int) { ::execlp("sleep", "sleep", "600", nullptr); });
    const pid_t pid = tree.root().pid;
    const auto deadline = soon();
    while (title_of(pid) != "sleep 600" && !deadline.passed()) ::usleep(1000);
    EXPECT_EQ(title_of(pid), "sleep 600");
    EXPECT_TRUE(is_in_our_namespace(pid));
    EXPECT_EQ(*real_uid_of(pid), ::getuid());
}

TEST(TreeEnderTest, EndsTheMonitorAndAllItsDescendants) {
    ProcessTree tree(4, [](int report_fd) {
        ProcessTree::start(report_fd, [](int fd) {
            ProcessTree::start(fd);
            ProcessTree::start(fd, [](int inner) { ProcessTree::start(inner); });
        });
    });
    ASSERT_EQ(tree.alive(), 5);
    EXPECT_EQ(end_tree(tree.root()), EndResult::kGone);
    EXPECT_EQ(tree.alive(), 0);
}

TEST(TreeEnderTest, EndsWhatIgnoresSignalsOrIsStoppedOrHasASessionOfItsOwn) {
    ProcessTree tree(3, [](int report_fd) {
        ProcessTree::start(report_fd, [](int) {
            for (const int signal : {SIGTERM, SIGHUP, SIGINT, SIGQUIT}) ::signal(signal, SIG_IGN);
        });
        ProcessTree::start(report_fd, [](int fd) {
            ProcessTree::report(fd);
            ::raise(SIGSTOP);
        });
        ProcessTree::start(report_fd, [](int) { ::setsid(); });
    });
    ASSERT_EQ(tree.alive(), 4);
    EXPECT_EQ(end_tree(tree.root()), EndResult::kGone);
    EXPECT_EQ(tree.alive(), 0);
}

TEST(TreeEnderTest, OutrunsATreeThatForksWithoutEnd) {
    int alive[2]; // each process of the tree holds the writing end
    ASSERT_EQ(::pipe2(alive, O_CLOEXEC), 0);
    {
        ProcessTree tree(1, [](int report_fd) {
            ProcessTree::start(report_fd, [](int fd) {
                ProcessTree::report(fd);
                for (;;) {
                    if (::fork() == 0) {
                        ::usleep(2000);
                        ::_exit(0);
                    }
                    ::usleep(200);
                    while (::waitpid(-1, nullptr, WNOHANG) > 0) continue;
                }
            });
        });
        ::close(alive[1]);
        EXPECT_EQ(end_tree(tree.root()), EndResult::kGone);
        char byte = 0;
        EXPECT_EQ(::read(alive[0], &byte, 1), 0) << "end of file: nobody is left";
    }
    ::close(alive[0]);
}

TEST(TreeEnderTest, LeavesEverybodyElseAlone) {
    ProcessTree other(1, [](int report_fd) { ProcessTree::start(report_fd); });
    ProcessTree tree(1, [](int report_fd) { ProcessTree::start(report_fd); });
    EXPECT_EQ(end_tree(tree.root()), EndResult::kGone);
    EXPECT_EQ(tree.alive(), 0);
    EXPECT_EQ(other.alive(), 2);
}

TEST(TreeEnderTest, TouchesNoProcessThatGotThePidOfADeadMonitor) {
    ProcessTree tree(1, [](int report_fd) { ProcessTree::start(report_fd); });
    ProcessId before = tree.root();
    --before.start_ticks;
    EXPECT_EQ(end_tree(before), EndResult::kGone);
    EXPECT_EQ(tree.alive(), 2);
}

TEST(TreeEnderTest, SaysWhereAProcessIsStillThere) {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root to become another user";
    ProcessTree tree(0, [](int) {});
    const pid_t powerless = ::fork();
    if (powerless == 0) {
        if (::setuid(65534) != 0) ::_exit(99);
        const auto result = TreeEnder().end(bound_to(tree.root()), posix::Deadline::after(from_millis(50)));
        ::_exit(static_cast<int>(result));
    }
    int status = 0;
    ::waitpid(powerless, &status, 0);
    EXPECT_EQ(WEXITSTATUS(status), static_cast<int>(EndResult::kStillThere));
    EXPECT_EQ(tree.alive(), 1);
}

// Takes an audit session of its own, as pam_loginuid does, and becomes that user.
bool log_in_as(uid_t uid) {
    std::ofstream file("/proc/self/loginuid");
    file << uid;
    file.close();
    const auto audit = audit_session_of(::getpid());
    return file.good() && audit && audit->has_value();
}

TEST(TreeEnderTest, EndsWhatDaemonisedAwayButBearsTheAuditSession) {
    const pid_t probe = ::fork();
    if (probe == 0) ::_exit(::geteuid() == 0 && log_in_as(65534) ? 0 : 1);
    int status = 0;
    ::waitpid(probe, &status, 0);
    if (status != 0) GTEST_SKIP() << "the kernel gives no audit session here";
    ProcessTree tree(1, [](int report_fd) {
        log_in_as(65534);
        const pid_t middle = ::fork();
        if (middle == 0) {
            if (::setuid(65534) != 0) ::_exit(1);
            ::setsid();
            ProcessTree::start(report_fd, [parent = ::getpid()](int) {
                while (::getppid() == parent) ::usleep(1000);
            });
            ::_exit(0);
        }
        ::waitpid(middle, nullptr, 0);
    });
    ASSERT_EQ(tree.alive(), 2);
    EXPECT_NE(*parent_of(tree.ids()[1]), tree.root());
    EXPECT_EQ(end_tree(tree.root()), EndResult::kGone);
    EXPECT_EQ(tree.alive(), 0);
}

// A cgroup named as logind names a session's scope, made by hand where there is no logind.
class OwnScope : public ::testing::Test {
protected:
    void SetUp() override {
        std::ifstream mounts("/proc/mounts");
        for (std::string kind, where, type, rest; mounts >> kind >> where >> type;) {
            std::getline(mounts, rest);
            if (type != "cgroup2") continue;
            folder_ = where + "/session-" + name_ + ".scope";
            is_made_ = ::mkdir(folder_.c_str(), 0755) == 0;
        }
        if (!is_made_) GTEST_SKIP() << "cannot make a cgroup here";
    }
    void TearDown() override {
        for (int i = 0; is_made_ && i < 1000 && ::rmdir(folder_.c_str()) != 0; ++i) ::usleep(1000);
    }
    void put(const ProcessId& process) const {
        std::ofstream(folder_ + "/cgroup.procs") << process.pid << std::flush;
        ASSERT_EQ(*scope_of(process.pid), name_);
    }
    BoundSession session_of(const ProcessId& monitor) const {
        BoundSession session = bound_to(monitor);
        session.logind_session = name_;
        return session;
    }

    std::string name_ = "lktest" + std::to_string(::getpid());
    std::string folder_;
    bool is_made_ = false;
};

TEST_F(OwnScope, IsEndedWithTheMonitorThatSitsInIt) {
    ProcessTree monitor(0, [](int) {});
    ProcessTree left_behind(1, [](int report_fd) { ProcessTree::start(report_fd); });
    put(monitor.root());
    put(left_behind.root());
    EXPECT_EQ(*logind_session_of(monitor.root()), name_);
    EXPECT_EQ(end_tree(monitor.root()), EndResult::kGone);
    EXPECT_EQ(monitor.alive() + left_behind.alive(), 0);
}

TEST_F(OwnScope, IsNotOursWhereTheServerSitsInItToo) {
    ProcessTree server(1, [](int report_fd) { ProcessTree::start(report_fd); });
    ProcessTree neighbour(0, [](int) {});
    const ProcessId monitor = server.ids()[1];
    for (const ProcessId& id : {server.root(), monitor, neighbour.root()}) put(id);
    EXPECT_EQ(*logind_session_of(monitor), "");
    EXPECT_EQ(end_tree(monitor), EndResult::kGone);
    EXPECT_EQ(server.alive(), 1);
    EXPECT_EQ(neighbour.alive(), 1);
}

TEST_F(OwnScope, IsNotOursWhereTheServerThatSatInItHasEnded) {
    ProcessTree server(1, [](int report_fd) { ProcessTree::start(report_fd); });
    ProcessTree neighbour(0, [](int) {});
    const ProcessId monitor = server.ids()[1];
    for (const ProcessId& id : {server.root(), monitor, neighbour.root()}) put(id);
    ::prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0);
    ::kill(server.root().pid, SIGKILL);
    ::waitpid(server.root().pid, nullptr, 0);
    const auto parent = parent_of(monitor);
    ASSERT_TRUE(parent);
    if (parent->pid != 1) {
        ::kill(monitor.pid, SIGKILL);
        GTEST_SKIP() << "here orphans are not PID 1's";
    }
    EXPECT_EQ(footprint_of(bound_to(monitor))->scope, "");
    EXPECT_EQ(footprint_of(session_of(monitor))->scope, name_) << "seen while its server lived: its own";
    EXPECT_EQ(end_tree(monitor), EndResult::kGone);
    EXPECT_EQ(neighbour.alive(), 1);
}

TEST_F(OwnScope, OfADeadMonitorIsLeftAloneAndNotCalledGone) {
    ProcessTree left_behind(0, [](int) {});
    put(left_behind.root());
    EXPECT_EQ(TreeEnder().end(session_of(ProcessId{0x7ffffffe, 1}), soon()), EndResult::kStillThere);
    EXPECT_EQ(left_behind.alive(), 1);
}

TEST_F(OwnScope, KeepsItsSessionInTheTableUntilItIsEmpty) {
    ProcessTree left_behind(0, [](int) {});
    put(left_behind.root());
    SessionTable table;
    table.add(session_of(ProcessId{0x7ffffffe, 1}));
    EXPECT_TRUE(table.find_dead().empty());
    EXPECT_EQ(end_tree(left_behind.root()), EndResult::kGone);
    EXPECT_EQ(table.find_dead().size(), 1U);
}

TEST(SessionTableTest, KeepsOneSessionAMonitor) {
    SessionTable table;
    BoundSession one = bound_to(ProcessId{10, 100});
    one.id = 1;
    BoundSession again = one;
    again.id = 2;
    BoundSession other = bound_to(ProcessId{10, 101}); // the pid used again
    other.id = 3;
    table.add(one);
    table.add(again);
    table.add(other);
    ASSERT_EQ(table.all().size(), 2U);
    EXPECT_EQ(table.all()[0].id, 2U);
    EXPECT_EQ(table.all()[1].id, 3U);
    EXPECT_EQ(table.remove_by_monitor(ProcessId{10, 100})->id, 2U);
    EXPECT_FALSE(table.remove_by_monitor(ProcessId{10, 100}));
    EXPECT_EQ(table.all().size(), 1U);
}

TEST(SessionTableTest, FindsThoseWhoseMonitorIsGoneUnlessProcCannotBeRead) {
    ProcessTree tree(0, [](int) {});
    SessionTable table;
    table.add(bound_to(tree.root()));
    ProcessId dead = tree.root();
    --dead.start_ticks;
    table.add(bound_to(dead));
    for (const std::size_t descriptors :
         {std::size_t{0}, std::size_t{1}}) { // with the last one /proc opens, but nothing in it
        const FewDescriptors few(descriptors);
        EXPECT_TRUE(table.find_dead().empty()) << descriptors;
    }
    const auto found = table.find_dead();
    ASSERT_EQ(found.size(), 1U);
    EXPECT_EQ(found[0].monitor, dead);
    table.remove_by_monitor(dead);
    EXPECT_TRUE(table.find_dead().empty());
    ASSERT_EQ(table.all().size(), 1U);
    EXPECT_EQ(table.all()[0].monitor, tree.root());
}

TEST(ProcessTest, IsNotTakenForGoneWhereProcCannotBeRead) {
    ProcessTree tree(0, [](int) {});
    const FewDescriptors none(0);
    EXPECT_EQ(process_of(tree.root().pid).error().code, Code::kIo);
    EXPECT_EQ(process_of(0x7fffffff).error().code, Code::kIo);
    EXPECT_EQ(parent_of(tree.root()).error().code, Code::kIo);
    EXPECT_EQ(HeldProcess::hold(tree.root()).error().code, Code::kIo);
    EXPECT_EQ(all_processes().error().code, Code::kIo);
    EXPECT_EQ(scope_of(tree.root().pid).error().code, Code::kIo);
    EXPECT_FALSE(is_gone(tree.root(), process_of(tree.root().pid)));
}

} // namespace
} // namespace latchkey::agent
