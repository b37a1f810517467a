// SPDX-License-Identifier: Apache-2.0
#include "agent/run/break_glass_spool.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/base/unique_handle.h"
#include "core/posix/file.h"

namespace latchkey::agent {

bool BreakGlassSpool::has_something() const {
    std::error_code problem;
    const auto size = std::filesystem::file_size(path_, problem);
    return !problem && size > 0;
}

Result<BreakGlassSpool::Read> BreakGlassSpool::read() const {
    // Twice the limit at which the writers stop, less what several may add at once.
    LK_TRY(content, posix::read_file(path_, 2 * protocol::kBreakGlassSpoolLimit));
    return Read{protocol::parse_uses(as_text(content)), content.size()};
}

Status BreakGlassSpool::empty(std::uintmax_t size_read) const {
    const UniqueFd fd(::open(path_.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
    if (!fd) return fail(Code::kIo, "cannot open " + path_.string() + ": " + std::strerror(errno));
    if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) return {}; // one is being added
    std::error_code problem;
    if (std::filesystem::file_size(path_, problem) != size_read || problem) return {};
    if (::ftruncate(fd.get(), 0) != 0)
        return fail(Code::kIo, "cannot empty " + path_.string() + ": " + std::strerror(errno));
    return {};
}

} // namespace latchkey::agent
