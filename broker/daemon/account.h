// SPDX-License-Identifier: Apache-2.0
#pragma once
// The Unix accounts that root hands the broker's parts to. Not root: everything stays with the user that
// started us.

#include <sys/types.h>

#include <filesystem>
#include <functional>
#include <string>

#include "core/base/result.h"

namespace latchkey::daemon {

struct Account {
    std::string name;
    uid_t uid;
    gid_t gid;
};

// kConfig with the line to run where root names an account that does not exist.
Result<Account> account_for(const std::string& name);

// Makes the folder (0700) and gives it to the account; parents are made 0755.
Status make_private_folder(const std::filesystem::path& folder, const Account& owner);

// Runs `job` with the account's rights to files, before any thread starts; root again after it. As ourselves
// where we are not root.
Status as_account(const Account& account, const std::function<Status()>& job);

// For good: groups, gid, uid, no way back; core dumps off. No-op where we are that user already.
Status become(const Account& account);

} // namespace latchkey::daemon
