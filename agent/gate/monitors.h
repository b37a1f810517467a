// SPDX-License-Identifier: Apache-2.0
#pragma once
// What Latchkey decided for each sshd monitor: the hand-off from the helper's question to PAM's. A monitor is
// named by pid and start time, both read from the kernel. Records end with their monitor. Bounded:
// kMaxMonitors, and kMaxCredentials a monitor (sshd's MaxAuthTries is 6). The loop's thread only.

#include <map>
#include <vector>

#include "agent/decide/verified_grant.h"
#include "agent/sessions/process.h"
#include "agent/sessions/sessions.h"

namespace latchkey::agent {

inline constexpr std::size_t kMaxMonitors = 4096;
inline constexpr std::size_t kMaxCredentials = 16;

// One credential that a monitor's connection may log in with.
struct AllowedLogin {
    Offer offer;
    revocation::Credential credential;
    Micros ends_at; // broker time
    protocol::SudoRule sudo = protocol::SudoRule::kUnsaid;
};

// Where the facts about processes come from: /proc, or a test.
class Processes {
public:
    virtual ~Processes() = default;
    virtual Result<ProcessId> find(pid_t pid) const = 0;
    virtual Result<ProcessId> parent_of(const ProcessId& child) const = 0;
    // These two fail where /proc cannot be read.
    virtual Result<std::string> logind_session_of(const ProcessId& process) const = 0;
    virtual Result<std::optional<std::uint32_t>> own_audit_session_of(const ProcessId& process) const = 0;
    // The logind session in whose scope it sits, whoever made that; empty for none, or unread.
    virtual std::string scope_of(const ProcessId& process) const = 0;
    // The pid of the process that was started last; 0 where that is not known.
    virtual pid_t newest() const = 0;
};

class ProcProcesses : public Processes {
public:
    Result<ProcessId> find(pid_t pid) const override { return agent::process_of(pid); }
    Result<ProcessId> parent_of(const ProcessId& child) const override { return agent::parent_of(child); }
    Result<std::string> logind_session_of(const ProcessId& process) const override {
        return agent::logind_session_of(process);
    }
    std::string scope_of(const ProcessId& process) const override {
        std::string scope = agent::scope_of(process.pid).value_or(std::string());
        const auto same = agent::process_of(process.pid);
        return same && *same == process ? scope : std::string();
    }
    Result<std::optional<std::uint32_t>> own_audit_session_of(const ProcessId& process) const override {
        return agent::own_audit_session_of(process);
    }
    pid_t newest() const override { return agent::newest_process(); }
};

class Monitors {
public:
    // False: no room, and the login is to be denied.
    bool allow(const ProcessId& monitor, AllowedLogin allowed);
    const std::vector<AllowedLogin>* of(const ProcessId& monitor) const;
    void forget(const ProcessId& monitor) { records_.erase(monitor); }
    // PAM's account check let this monitor's login go on.
    void note_passed(const ProcessId& monitor, Micros now);
    // Those that went on by then.
    std::vector<ProcessId> passed_by(Micros then) const;
    void drop_dead(const Processes& processes);
    std::size_t size() const { return records_.size(); }

private:
    struct Record {
        std::vector<AllowedLogin> allowed;
        std::optional<Micros> passed; // monotonic
    };
    std::map<ProcessId, Record> records_;
};

} // namespace latchkey::agent
