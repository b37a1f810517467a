// SPDX-License-Identifier: Apache-2.0
#include "pam/managed_logins.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "core/posix/file.h"
#include "core/protocol/managed_logins.h"

namespace latchkey::pam {
namespace {

constexpr std::size_t kListLimit = 1024 * 1024;

bool folder_is_missing(const std::string& path) {
    const std::string folder = path.substr(0, path.rfind('/') + 1);
    struct stat facts;
    return ::stat(folder.c_str(), &facts) != 0 && errno == ENOENT;
}

// What others may write proves nothing.
Status check_owner(const std::string& path) {
    struct stat facts;
    if (::stat(path.c_str(), &facts) != 0) return {}; // reading it says why
    const bool ours = facts.st_uid == 0 || facts.st_uid == ::geteuid();
    if (ours && (facts.st_mode & (S_IWGRP | S_IWOTH)) == 0) return {};
    return fail(Code::kTampered, path + " may be written by others than root");
}

Result<bool> is_managed(const std::string& path, const Login& login) {
    LK_CHECK(check_owner(path));
    LK_TRY(content, posix::read_file(path, kListLimit));
    LK_TRY(logins, protocol::parse_managed_logins(as_text(content)));
    return std::ranges::find(logins, login) != logins.end();
}

} // namespace

Finding look_up(const std::string& path, const Login& login) {
    if (folder_is_missing(path)) return {Standing::kUnmanaged, {}};
    const auto managed = is_managed(path, login);
    if (!managed) return {Standing::kUnknown, managed.error().line()};
    return {*managed ? Standing::kManaged : Standing::kUnmanaged, {}};
}

} // namespace latchkey::pam
