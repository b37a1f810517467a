// SPDX-License-Identifier: Apache-2.0
#pragma once
// Making a factor: begin, show, confirm with a first code, keep. And joining: invite, key, factor and the
// first unlock in one transaction, so that a torn conversation leaves the invite unspent. Nothing is stored
// before it is confirmed. Blocks on the ledger and in a plugin; any thread; a Pending belongs to one.

#include <string>
#include <string_view>

#include "broker/unlock/factors.h"
#include "core/keys/public_key.h"

namespace latchkey::unlock {

struct Pending {
    std::string kind;
    plugin_host::Enrolment enrolment;
    bool is_confirmed = false;
};

struct Joined {
    ledger::User user;
    ledger::Key key;
    ledger::Unlock unlock;
};

// kNotFound names the kinds that there are.
Result<Pending> begin(const Factors& factors, const UserName& user, std::string_view kind);

// True where the first code fits; the state then knows that the code is used.
Result<bool> confirm(const Factors& factors, Pending& pending, std::string_view answer);

// In the caller's transaction, since a person's first code may have been long in coming: there the caller
// judges again who that is. kRefused where the factor wants a confirmation that it has not had.
Result<ledger::FactorRow> keep(ledger::Transaction& t, RowId user, const Pending& pending,
                               const std::string& actor);

// kNotFound, kExpired, kConflict of the invite; kLocked; kExists for a key that is registered already.
Result<ledger::User> invited(const Factors& factors, std::string_view code);
Result<Joined> join(const Factors& factors, std::string_view code, const keys::PublicKey& key,
                    const Pending& factor);

} // namespace latchkey::unlock
