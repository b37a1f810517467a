// SPDX-License-Identifier: Apache-2.0
#pragma once
// Who the caller is by the ledger, at this moment: a connection, and a prompt within a command, may outlive a
// role, a key and an unlock. Inside a ledger job.

#include "broker/desk/console.h"
#include "broker/ledger/holders.h"

namespace latchkey::desk {

using Standing = ledger::Holder;

// kRevoked: the account or the key of this login was removed. kLocked.
Result<Standing> look_up_standing(ledger::Transaction& t, const Caller& caller);

} // namespace latchkey::desk
