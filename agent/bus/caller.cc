// SPDX-License-Identifier: Apache-2.0
#include "agent/bus/caller.h"

#include <grp.h>
#include <pwd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

namespace latchkey::agent::bus {
namespace {

constexpr std::size_t kMaxEntry =
    std::size_t{1024} * 1024; // of the user database: a group can have many members
constexpr int kMaxGroups = 65536;

// Calls one of getpwuid_r and getgrnam_r with room enough. True: found.
template <class Entry, class Look>
Result<bool> look_up(Entry& entry, std::vector<char>& room, Look look) {
    for (room.resize(4096); room.size() <= kMaxEntry; room.resize(room.size() * 4)) {
        Entry* found = nullptr;
        const int problem = look(&entry, room.data(), room.size(), &found);
        if (problem == 0) return found != nullptr;
        if (problem == ENOENT || problem == ESRCH) return false;
        if (problem != ERANGE && problem != EINTR)
            return fail(Code::kUnavailable, "the user database does not answer", "look at nsswitch.conf");
    }
    return fail(Code::kTooLarge, "an entry of the user database is too large");
}

} // namespace

Status check_caller(uid_t caller, const std::string& group) {
    if (caller == 0) return {};
    struct group group_entry {};
    std::vector<char> group_room;
    LK_TRY(has_group, look_up(group_entry, group_room,
                              [&](auto... places) { return ::getgrnam_r(group.c_str(), places...); }));
    passwd user{};
    std::vector<char> user_room;
    LK_TRY(has_user,
           look_up(user, user_room, [&](auto... places) { return ::getpwuid_r(caller, places...); }));
    if (has_group && has_user) {
        std::vector<gid_t> groups(64);
        int count = static_cast<int>(groups.size());
        while (::getgrouplist(user.pw_name, user.pw_gid, groups.data(), &count) < 0) {
            count = std::max(count, static_cast<int>(groups.size()) * 2);
            if (count > kMaxGroups) return fail(Code::kTooLarge, "the caller is in too many groups");
            groups.resize(static_cast<std::size_t>(count));
        }
        groups.resize(static_cast<std::size_t>(count));
        if (std::ranges::find(groups, group_entry.gr_gid) != groups.end()) return {};
    }
    return fail(Code::kUnauthenticated, "only root and members of group " + group + " may ask that",
                "ask as root");
}

} // namespace latchkey::agent::bus
