// SPDX-License-Identifier: Apache-2.0
#include "broker/daemon/running.h"

#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>
#include <cstring>

namespace latchkey::daemon {

Result<UniqueFd> lock_state(const Config& config, Use use) {
    const std::filesystem::path path = config.broker.state_dir / "running.lock";
    UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!fd) {
        return fail(Code::kIo, "cannot open " + path.string() + ": " + std::strerror(errno),
                    "check state_dir, its owner and its mode");
    }
    if (::flock(fd.get(), (use == Use::kBroker ? LOCK_SH : LOCK_EX) | LOCK_NB) == 0) return fd;
    if (errno != EWOULDBLOCK)
        return fail(Code::kIo, "cannot lock " + path.string() + ": " + std::strerror(errno));
    if (use == Use::kBroker) {
        return fail(Code::kConflict, "a restore or copy is at work in " + config.broker.state_dir.string(),
                    "wait for its end");
    }
    return fail(Code::kConflict, "a broker runs on " + config.broker.state_dir.string(),
                "stop it first: systemctl stop latchkeyd");
}

} // namespace latchkey::daemon
