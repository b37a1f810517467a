// SPDX-License-Identifier: Apache-2.0
#pragma once
// The few words of systemd-logind's D-Bus interface that ending a session needs; logind.cc is the one file
// that knows sdbus-c++. A connection of its own for each end: blocking, one thread. kNotFound: no such
// session. Any other failure says nothing about sessions.

#include <cstdint>
#include <memory>
#include <string>

#include "core/base/result.h"
#include "core/posix/stream.h"

namespace latchkey::agent {

struct LogindSession {
    std::string id;
    pid_t leader = 0;
    std::string state;         // opening, online, active, closing
    std::string session_class; // "user…" for people; managers, greeters and the rest are none of ours
};

enum class Whom { kLeader = 1, kAll };

class Logind {
public:
    virtual ~Logind() = default;
    virtual Result<LogindSession> session(const std::string& id) = 0;
    // Looks through all sessions: one that is still `opening` cannot be found by its processes.
    virtual Result<LogindSession> session_led_by(pid_t leader) = 0;
    virtual Status terminate(const std::string& id) = 0;
    virtual Status kill(const std::string& id, Whom whom, int signal) = 0;
};

Result<std::unique_ptr<Logind>> connect_logind(const posix::Deadline& deadline);

} // namespace latchkey::agent
