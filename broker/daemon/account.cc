// SPDX-License-Identifier: Apache-2.0
#include "broker/daemon/account.h"

#include <grp.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace latchkey::daemon {
namespace {

Failure system_failure(const std::string& what) {
    return fail(Code::kIo, what + ": " + std::strerror(errno));
}

} // namespace

Result<Account> account_for(const std::string& name) {
    if (::geteuid() != 0) return Account{"", ::geteuid(), ::getegid()};
    passwd entry{};
    passwd* found = nullptr;
    std::array<char, 16384> buffer;
    ::getpwnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found);
    if (found == nullptr) {
        return fail(Code::kConfig, "there is no Unix account '" + name + "'",
                    "run: useradd --system --home-dir /nonexistent --shell /usr/sbin/nologin " + name);
    }
    return Account{name, entry.pw_uid, entry.pw_gid};
}

Status make_private_folder(const std::filesystem::path& folder, const Account& owner) {
    std::error_code error;
    std::filesystem::create_directories(folder.parent_path(), error);
    if (error)
        return fail(Code::kIo, "cannot make " + folder.parent_path().string() + ": " + error.message());
    if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST)
        return system_failure("cannot make " + folder.string());
    if (::geteuid() == 0 && ::chown(folder.c_str(), owner.uid, owner.gid) != 0) {
        return system_failure("cannot hand over " + folder.string());
    }
    if (::chmod(folder.c_str(), 0700) != 0)
        return system_failure("cannot close " + folder.string() + " to others");
    return {};
}

Status as_account(const Account& account, const std::function<Status()>& job) {
    if (::geteuid() != 0) return job();
    if (::setegid(account.gid) != 0 || ::seteuid(account.uid) != 0) {
        return system_failure("cannot act as " + account.name);
    }
    Status done = job();
    if (::seteuid(0) != 0 || ::setegid(0) != 0) return system_failure("cannot be root again");
    return done;
}

Status become(const Account& account) {
    ::prctl(PR_SET_DUMPABLE, 0);
    if (::geteuid() != 0 || account.uid == 0) return {};
    if (::setgroups(0, nullptr) != 0 || ::setresgid(account.gid, account.gid, account.gid) != 0 ||
        ::setresuid(account.uid, account.uid, account.uid) != 0) {
        return system_failure("cannot become " + account.name);
    }
    if (::setuid(0) == 0) return fail(Code::kInternal, "root did not go away for good");
    ::prctl(PR_SET_DUMPABLE, 0);
    return {};
}

} // namespace latchkey::daemon
