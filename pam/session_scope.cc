// SPDX-License-Identifier: Apache-2.0
#include "pam/session_scope.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "core/base/unique_handle.h"

namespace latchkey::pam {
namespace {

Result<std::string> read_proc_file(const std::string& path) { // its size is not known before
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    std::string text;
    std::array<char, 4096> chunk;
    for (;;) {
        const ssize_t got = ::read(fd.get(), chunk.data(), chunk.size());
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return fail(Code::kIo, "cannot read " + path);
        if (got == 0) return text;
        text.append(chunk.data(), static_cast<std::size_t>(got));
    }
}

} // namespace

bool logind_is_due(const std::string& run_systemd) {
    return ::access((run_systemd + "/seats").c_str(), F_OK) == 0 ||
           ::access((run_systemd + "/system").c_str(), F_OK) == 0;
}

bool sits_in_scope(std::string_view cgroup_lines, std::string_view session) {
    const std::string tail = "/session-" + std::string(session) + ".scope";
    while (!cgroup_lines.empty()) {
        const auto end = cgroup_lines.find('\n');
        if (cgroup_lines.substr(0, end).ends_with(tail)) return true;
        cgroup_lines.remove_prefix(end == std::string_view::npos ? cgroup_lines.size() : end + 1);
    }
    return false;
}

Status check_own_scope(const std::string& session, const std::string& cgroup_file) {
    static constexpr const char* next =
        "put pam_latchkey.so after pam_systemd.so, or scope=optional where this machine has no pam_systemd";
    if (session.empty()) return fail(Code::kRefused, "logind made no session for this login", next);
    LK_TRY(lines, read_proc_file(cgroup_file));
    if (sits_in_scope(lines, session)) return {};
    return fail(Code::kRefused, "this login is not in the scope of its logind session", next);
}

} // namespace latchkey::pam
