// SPDX-License-Identifier: Apache-2.0
#include "broker/desk/standing.h"

#include <utility>

#include "broker/ledger/users.h"

namespace latchkey::desk {

Result<Standing> look_up_standing(ledger::Transaction& t, const Caller& caller) {
    LK_TRY(holder, ledger::find_holder(t, caller.fingerprint));
    const bool has_key = holder && holder->key.id == caller.key && holder->user.id == caller.user;
    std::optional<ledger::User> user;
    if (has_key) {
        user = holder->user;
    } else { // why not?
        LK_TRY(found, ledger::find_user(t, caller.user));
        user = std::move(found);
    }
    if (!user || user->state == ledger::UserState::kRemoved)
        return fail(Code::kRevoked, "this account was removed", "ask an admin");
    if (user->state != ledger::UserState::kActive)
        return fail(Code::kLocked, "account locked", "ask an admin");
    if (!has_key)
        return fail(Code::kRevoked, "this key was removed", "log in with another key, or ask an admin");
    return std::move(*holder);
}

} // namespace latchkey::desk
