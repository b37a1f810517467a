// SPDX-License-Identifier: Apache-2.0
#pragma once
// Which sshd monitor holds a session of which credential, and how such a session is ended for good. A process
// is named by pid and start time, so that a reused pid is never mistaken for it. SessionTable: any thread.
// SessionEnder: blocking, any thread, several sessions at once. Denied when in doubt: kStillThere is what a
// receipt must not hide.

#include <sys/types.h>

#include <compare>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/base/clock.h"
#include "core/base/names.h"
#include "core/base/result.h"
#include "core/posix/stream.h"

namespace latchkey::agent {

struct ProcessId {
    pid_t pid = 0;
    std::uint64_t start_ticks = 0; // field 22 of /proc/PID/stat: clock ticks since boot
    auto operator<=>(const ProcessId&) const = default;
};

// From /proc/PID/stat. kNotFound: no such process, or a zombie, which is gone for our purposes. kIo: /proc
// cannot be read now (no descriptor left, say), which says nothing about the process.
Result<ProcessId> process_of(pid_t pid);
// Whether `now`, what process_of() said of its pid, proves that `process` is gone.
bool is_gone(const ProcessId& process, const Result<ProcessId>& now);
// Checks that the child is still the same process before and after.
Result<ProcessId> parent_of(const ProcessId& child);

struct BoundSession {
    std::uint64_t id = 0; // ours; unique within this agent's life
    ProcessId monitor;    // the privileged sshd of this connection: logind's Leader, PAM's process
    UserName user;
    Login login;
    Fingerprint key;
    Serial serial;
    Fingerprint ca;
    Micros issued_at;
    std::string from;
    Micros since;
    std::string logind_session;                 // empty: none when it was bound; the ender looks again
    std::optional<std::uint32_t> audit_session; // the kernel's own, which no child of the login can change
};

// An sshd that has let somebody in, but that sits in no logind session.
struct Stray {
    ProcessId monitor;
    Login login;
};

enum class EndResult : std::uint8_t { kGone = 1, kStillThere };

class SessionEnder {
public:
    virtual ~SessionEnder();
    // Blocking; ends everything of that session (logind scope where there is one, else monitor and all
    // descendants by pidfd) and verifies that it is gone before `deadline`.
    virtual EndResult end(const BoundSession& session, const posix::Deadline& deadline) = 0;
    // Blocking, once all of `ended` are gone: what they had the account's own service manager start.
    virtual EndResult end_jobs(std::span<const BoundSession> ended, const posix::Deadline& deadline);
    // Blocking. None where no logind answers: there sessions are not expected to be its own.
    virtual std::vector<Stray> strays() const;
    // Blocking. Whether logind, asked now, knows no session that this process leads; false where it cannot
    // be asked.
    virtual bool is_without_session(const ProcessId& leader) const;
};

// use_logind: false only where no logind runs; with it, a session that has no scope is still ended by pidfd.
std::unique_ptr<SessionEnder> make_session_ender(bool use_logind);

class SessionTable {
public:
    void add(BoundSession session); // replaces what the same monitor held
    std::optional<BoundSession> remove_by_monitor(const ProcessId& monitor);
    std::vector<BoundSession> all() const;
    // Blocking: reads /proc. Those that are over: the monitor is gone and so is all that sat in the session's
    // scope or bears its audit session. A job left behind by nohup or tmux keeps its session in the table, so
    // that end() still reaches it. None while /proc cannot be read.
    std::vector<BoundSession> find_dead() const;

private:
    mutable std::mutex mutex_;
    std::vector<BoundSession> sessions_;
};

// From /proc/PID/cgroup: "12" for …/session-12.scope, else empty (also where the process is not that one).
// Fails, like the next one, where /proc cannot be read.
Result<std::string> logind_session_of(const ProcessId& process);
// The kernel's audit session, where this login got one of its own instead of inheriting the server's.
Result<std::optional<std::uint32_t>> own_audit_session_of(const ProcessId& process);

} // namespace latchkey::agent
