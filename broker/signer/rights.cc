// SPDX-License-Identifier: Apache-2.0
#include "broker/signer/rights.h"

#include <grp.h>
#include <pwd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace latchkey::signer {

void harden() {
    const rlimit none{0, 0};
    ::setrlimit(RLIMIT_CORE, &none);
    ::prctl(PR_SET_DUMPABLE, 0);
    // With a limit on locked memory, locking what is to come would make later allocations fail: then only
    // what is here.
    const rlimit endless{RLIM_INFINITY, RLIM_INFINITY};
    rlimit lock{};
    ::setrlimit(RLIMIT_MEMLOCK, &endless);
    const bool has_no_limit = ::getrlimit(RLIMIT_MEMLOCK, &lock) == 0 && lock.rlim_cur == RLIM_INFINITY;
    ::mlockall(has_no_limit ? MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT : MCL_CURRENT | MCL_ONFAULT);
}

Result<UserIds> find_unix_user(const std::string& name) {
    passwd entry{};
    passwd* found = nullptr;
    std::array<char, 16384> buffer;
    ::getpwnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found);
    if (found == nullptr) {
        return fail(Code::kConfig, "there is no Unix account '" + name + "'",
                    "run: useradd --system --home-dir /nonexistent --shell /usr/sbin/nologin " + name);
    }
    return UserIds{entry.pw_uid, entry.pw_gid};
}

Status drop_root(const UserIds& to) {
    ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (::geteuid() != 0 || to.uid == 0) return {};
    if (::setgroups(0, nullptr) != 0 || ::setresgid(to.gid, to.gid, to.gid) != 0 ||
        ::setresuid(to.uid, to.uid, to.uid) != 0) {
        return fail(Code::kIo, std::string("cannot drop root: ") + std::strerror(errno));
    }
    if (::setuid(0) == 0) return fail(Code::kInternal, "root did not go away for good");
    ::prctl(PR_SET_DUMPABLE, 0); // the kernel gives it back when the user changes
    return {};
}

} // namespace latchkey::signer
