// SPDX-License-Identifier: Apache-2.0
#include "broker/desk/standing.h"

#include <utility>

#include "broker/ledger/factors.h"
#include "broker/ledger/users.h"

namespace latchkey::desk {

Result<Standing> look_up_standing(ledger::Transaction& t, const Caller& caller) {
    LK_TRY(user, ledger::find_user(t, caller.user));
    if (!user || user->state == ledger::UserState::kRemoved) {
        return fail(Code::kRevoked, "this account was removed", "ask an admin");
    }
    if (user->state != ledger::UserState::kActive)
        return fail(Code::kLocked, "account locked", "ask an admin");
    LK_TRY(key, ledger::find_key(t, caller.fingerprint));
    if (!key || key->id != caller.key || key->user != caller.user) {
        return fail(Code::kRevoked, "this key was removed", "log in with another key, or ask an admin");
    }
    LK_TRY(unlock, ledger::live_unlock(t, caller.user, caller.key));
    return Standing{std::move(*user), std::move(*key), unlock};
}

} // namespace latchkey::desk
