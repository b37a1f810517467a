// SPDX-License-Identifier: Apache-2.0
#pragma once
// For tests: a real tree of processes, described by a function that runs in its root ("the monitor") and
// tells the pids of what it starts through Nursery::report. Whatever is left is killed and reaped at the end.

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>
#include <set>
#include <vector>

#include "agent/sessions/process.h"

namespace latchkey::agent {

class ProcessTree {
public:
    using Body = std::function<void(int report_fd)>;

    // Returns once the body has reported `count` pids beside its own.
    ProcessTree(int count, const Body& body) {
        // What loses its parent becomes our child, so that it can be reaped like the rest.
        ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
        int ends[2];
        if (::pipe2(ends, O_CLOEXEC) != 0) std::abort();
        const pid_t pid = ::fork();
        if (pid == 0) {
            body(ends[1]);
            for (;;) ::pause();
        }
        ::close(ends[1]);
        pids_.push_back(pid);
        for (int i = 0; i < count; ++i) {
            pid_t child = 0;
            if (::read(ends[0], &child, sizeof child) != sizeof child) std::abort();
            pids_.push_back(child);
        }
        ::close(ends[0]);
        for (const pid_t one : pids_) ids_.push_back(process_of(one).value_or(ProcessId{one, 0}));
    }
    ~ProcessTree() {
        for (const pid_t pid : pids_) ::kill(pid, SIGKILL);
        for (const pid_t pid : pids_) ::waitpid(pid, nullptr, 0);
    }
    ProcessTree(const ProcessTree&) = delete;
    ProcessTree& operator=(const ProcessTree&) = delete;

    ProcessId root() const { return ids_.front(); }
    const std::vector<ProcessId>& ids() const { return ids_; }
    int alive() const {
        int count = 0;
        for (const ProcessId& id : ids_) {
            if (const auto now = process_of(id.pid); now && *now == id) ++count;
        }
        return count;
    }

    // In the body: starts a child that reports itself, runs `more` and sleeps for ever.
    static pid_t start(int report_fd, const Body& more = {}) {
        const pid_t pid = ::fork();
        if (pid != 0) return pid;
        if (more) more(report_fd);
        report(report_fd);
        for (;;) ::pause();
    }
    static void report(int report_fd) {
        const pid_t self = ::getpid();
        if (::write(report_fd, &self, sizeof self) != sizeof self) ::_exit(1);
    }

private:
    std::vector<pid_t> pids_;
    std::vector<ProcessId> ids_;
};

} // namespace latchkey::agent
