// SPDX-License-Identifier: Apache-2.0
#pragma once
// The machine as the doctor sees it: the seam that tests fill with broken ones. Nothing here waits without a
// deadline. Looking fails with kNotFound (not there), kRefused (we may not) or kIo; what changes something is
// in the second half, and only `doctor --fix` calls it. One thread.

#include <sys/types.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "agent/trust/state_folder.h"
#include "core/base/clock.h"
#include "core/base/result.h"
#include "core/protocol/local.h"

namespace latchkey::agent::doctor {

enum class FileKind : std::uint8_t { kFile = 1, kFolder, kLink, kOther };

struct FileFacts {
    FileKind kind = FileKind::kFile;
    mode_t mode = 0; // permission bits
    uid_t owner = 0;
    gid_t group = 0;
    std::uint64_t size = 0;
};

struct Ran {
    int status = -1; // exit status; -1: ended by a signal
    std::string out;
    std::string err;
};

struct ProcessSeen {
    pid_t pid = 0;
    pid_t parent = 0;
    uid_t user = 0;
    std::string name;    // comm
    std::string command; // argv joined by spaces; sshd writes its title there
    std::string program; // what /proc/PID/exe names; empty where we may not look
};

using Words = std::vector<std::string>;

class Machine {
public:
    virtual ~Machine() = default;

    virtual bool is_root() = 0;
    virtual Result<std::string> read(const std::string& path) = 0;
    virtual Result<FileFacts> look(const std::string& path) = 0;           // of a link itself
    virtual Result<std::string> real_path(const std::string& path) = 0;    // all links followed
    virtual std::vector<std::string> glob(const std::string& pattern) = 0; // sorted, as sshd's Include sorts
    // kNotFound: no such program. kTimedOut: it was killed at the deadline.
    virtual Result<Ran> run(const Words& argv, Micros time_limit) = 0;
    virtual std::vector<ProcessSeen> processes() = 0;
    virtual std::optional<uid_t> user_id(const std::string& name) = 0;
    virtual std::string user_name(uid_t user) = 0; // the number where it has no name
    virtual Result<protocol::AgentStatusAnswer> ask_agent(const std::string& socket) = 0;
    // A TLS connection to this literal address, to the pin and no further. kUnauthenticated: another key.
    virtual Status greet_broker(const StateFolder& folder, const protocol::BrokerAddress& at,
                                const Fingerprint& broker_key, Micros time_limit) = 0;
    virtual Micros now() = 0;
    virtual void pause(Micros time) = 0;

    // Whole or not at all, and on disk; a link is followed.
    virtual Status write(const std::string& path, const std::string& content, mode_t mode) = 0;
    virtual Status make_link(const std::string& path, const std::string& target) = 0;
    virtual Status remove(const std::string& path) = 0;
    virtual Status set_owner_and_mode(const std::string& path, uid_t owner, gid_t group, mode_t mode) = 0;
    // A folder of root's own that nobody else can look into, holding these files; gone at the latest with the
    // Machine.
    virtual Result<std::string> stage(const std::map<std::string, std::string>& files_by_name) = 0;
    virtual Status hang_up(pid_t pid) = 0; // SIGHUP: sshd reads its configuration again
};

} // namespace latchkey::agent::doctor
