// SPDX-License-Identifier: Apache-2.0
#pragma once
// Processes as the kernel shows them in /proc, and HeldProcess: a process kept by pidfd, so that a signal can
// never reach another one that got its pid. Any thread. A group whose first thread has ended while others
// live looks like a zombie in /proc but counts as alive. "Gone" and "cannot be read now" (no descriptor left,
// say) are never mixed up: the first is kNotFound or reads as empty, the second is kIo.

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "agent/sessions/sessions.h"
#include "core/base/unique_handle.h"

namespace latchkey::agent {

struct ProcessFacts {
    ProcessId id;
    pid_t parent = 0;
    char state = '?'; // as ps prints it: R S D T Z …
    bool is_zombie = false;
};

Result<ProcessFacts> facts_of(pid_t pid); // kNotFound: no such process
Result<std::vector<ProcessFacts>> all_processes();
// The pid that was given out last, so that two equal answers mean that nothing was started; 0 where the
// kernel does not say.
pid_t newest_process();

// "12" where a line of /proc/PID/cgroup has the part session-12.scope, else empty.
Result<std::string> scope_of(pid_t pid);
std::string scope_in(std::string_view cgroup_lines);

// /proc/PID/cgroup as it stands; empty where the process is gone.
Result<std::string> cgroup_lines_of(pid_t pid);

// The kernel's login session of audit (/proc/PID/sessionid), which a daemonised child keeps; nullopt if
// unset.
Result<std::optional<std::uint32_t>> audit_session_of(pid_t pid);
// Runs as the very account, not root, that logged in.
Result<bool> runs_as_its_login(pid_t pid);

Result<std::optional<uid_t>> real_uid_of(pid_t pid);

// For guesses about who is a stray: what cannot be read is no and empty here.
// In this very pid namespace, not in a container's below it.
bool is_in_our_namespace(pid_t pid);
// What the process calls itself: its argv, words parted by blanks.
std::string title_of(pid_t pid);

class HeldProcess {
public:
    // kNotFound: it is gone already. kIo: it is there but cannot be held (no descriptor left, say).
    static Result<HeldProcess> hold(const ProcessId& id);

    const ProcessId& id() const { return id_; }
    bool is_gone() const;
    void send(int signal) const;

private:
    friend bool wait_until_gone(std::span<const HeldProcess>, const posix::Deadline&);
    HeldProcess(ProcessId id, UniqueFd pidfd) : id_(id), pidfd_(std::move(pidfd)) {}

    ProcessId id_;
    UniqueFd pidfd_;
};

// True once all are gone; false at the deadline.
bool wait_until_gone(std::span<const HeldProcess> processes, const posix::Deadline& deadline);

// For many processes, however few descriptors there are: none is kept.
// kNotFound: it is gone. kIo: it is there and got no signal.
Status signal_process(const ProcessId& id, int signal);
// Waits until the first kHeldAtOnce of them are gone, or the deadline; a millisecond where none can be held.
inline constexpr std::size_t kHeldAtOnce = 64;
void wait_for_some(std::span<const ProcessId> processes, const posix::Deadline& deadline);

} // namespace latchkey::agent
