// SPDX-License-Identifier: Apache-2.0
#include "agent/helper/chain.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>

#include "core/posix/file.h"
#include "core/protocol/managed_logins.h"

namespace latchkey::helper {
namespace {

constexpr std::size_t kListLimit = 1024 * 1024;

// As sshd judges its own command; Debian's lets root's own group write.
bool is_only_roots(const struct stat& facts) {
    const mode_t others = facts.st_gid == 0 ? S_IWOTH : S_IWGRP | S_IWOTH;
    return facts.st_uid == 0 && (facts.st_mode & others) == 0;
}

Status check_path(const char* program) {
    char real[PATH_MAX];
    if (program[0] != '/' || ::realpath(program, real) == nullptr)
        return fail(Code::kNotFound, std::string("no program to ask then: ") + program);
    std::string path(real);
    struct stat facts;
    while (true) {
        if (::stat(path.c_str(), &facts) != 0 || !is_only_roots(facts))
            return fail(Code::kRefused, path + " may be changed by others than root: not run",
                        "chown root:root and chmod go-w it");
        if (path == "/") return {};
        const std::size_t slash = path.rfind('/');
        path.resize(std::max<std::size_t>(slash, 1));
    }
}

} // namespace

bool is_unmanaged_by_list(const std::string& list, const Login& login) {
    struct stat facts;
    const std::string folder = list.substr(0, list.rfind('/') + 1);
    if (::stat(folder.c_str(), &facts) != 0) return errno == ENOENT;
    if (::stat(list.c_str(), &facts) != 0 || !is_only_roots(facts)) return false;
    const auto content = posix::read_file(list, kListLimit);
    if (!content) return false;
    const auto listed = protocol::parse_managed_logins(as_text(*content));
    return listed && std::find(listed->begin(), listed->end(), login) == listed->end();
}

Status run_in_our_place(char** words) {
    LK_CHECK(check_path(words[0]));
    ::execv(words[0], words);
    return fail(Code::kIo, std::string("cannot run ") + words[0] + ": " + std::strerror(errno));
}

} // namespace latchkey::helper
