// SPDX-License-Identifier: Apache-2.0
#include "broker/unlock/enrolment.h"

#include <utility>

#include "broker/ledger/factors.h"
#include "broker/ledger/users.h"

namespace latchkey::unlock {

Result<Pending> begin(const Factors& factors, const UserName& user, std::string_view kind) {
    plugin_host::Factor* const plugin = factors.plugin(kind);
    if (plugin == nullptr) {
        std::string there;
        for (const std::string& name : factors.kinds()) there += (there.empty() ? "" : ", ") + name;
        return fail(Code::kNotFound, "no such kind of factor here", "kinds: " + there);
    }
    const Factors::Options& options = factors.options();
    LK_TRY(enrolment, plugin->enrol(user.str(), options.issuer, options.clock->now()));
    Pending pending;
    pending.kind = std::string(kind);
    pending.is_confirmed = !enrolment.needs_confirmation;
    pending.enrolment = std::move(enrolment);
    return pending;
}

Result<bool> confirm(const Factors& factors, Pending& pending, std::string_view answer) {
    if (answer.empty() || answer.size() > kMaxAnswer) return false;
    plugin_host::Factor* const plugin = factors.plugin(pending.kind);
    if (plugin == nullptr) return fail(Code::kUnavailable, "the factor's plugin is gone", "start again");
    LK_TRY(outcome, plugin->check(pending.enrolment.state, answer, factors.options().clock->now()));
    if (!outcome.accepted) return false;
    pending.enrolment.state = std::move(outcome.next_state);
    pending.is_confirmed = true;
    return true;
}

Result<ledger::FactorRow> keep(ledger::Transaction& t, RowId user, const Pending& pending,
                               const std::string& actor) {
    if (!pending.is_confirmed)
        return fail(Code::kRefused, "factor is not confirmed", "enter a code of it first");
    return ledger::add_factor(t, user, pending.kind, pending.enrolment.state, actor);
}

Result<ledger::User> invited(const Factors& factors, std::string_view code) {
    return factors.ledger().read([&](ledger::Transaction& t) { return ledger::check_invite(t, code); });
}

Result<Joined> join(const Factors& factors, std::string_view code, const keys::PublicKey& key,
                    const Pending& factor) {
    if (!factor.is_confirmed)
        return fail(Code::kRefused, "factor is not confirmed", "enter a code of it first");
    LK_TRY(done, factors.ledger().write([&](ledger::Transaction& t) -> Result<Joined> {
        LK_TRY(user, ledger::check_invite(t, code));
        if (user.state != ledger::UserState::kActive) {
            return fail(Code::kLocked, "account locked", "ask an admin");
        }
        const std::string actor = user.name.str();
        LK_CHECK(ledger::spend_invite(t, code));
        Joined joined;
        LK_TRY(registered, ledger::find_key(t, key.fingerprint()));
        if (registered && registered->user == user.id) { // joins again after a factor reset
            joined.key = std::move(*registered);
        } else {
            LK_TRY(added, ledger::add_key(t, user.id, key, "joined with", actor));
            joined.key = std::move(added);
        }
        LK_TRY(kept, ledger::add_factor(t, user.id, factor.kind, factor.enrolment.state, actor));
        (void)kept;
        LK_TRY(opened, ledger::open_unlock(t, user.id, joined.key.id, t.now + factors.options().unlock_for,
                                           t.now, actor));
        joined.unlock = opened;
        joined.user = std::move(user);
        return joined;
    }));
    factors.tell(done.user, done.key, done.unlock);
    return done;
}

} // namespace latchkey::unlock
