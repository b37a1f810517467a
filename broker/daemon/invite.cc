// SPDX-License-Identifier: Apache-2.0
#include "broker/daemon/invite.h"

#include <iostream>

#include "broker/daemon/own_ledger.h"
#include "broker/daemon/running.h"
#include "broker/desk/text.h"
#include "broker/ledger/factors.h"
#include "broker/ledger/users.h"

namespace latchkey::daemon {
namespace {

constexpr const char* kActor = "latchkeyd";

Result<std::string> let_in_anew(ledger::Transaction& t, const UserName& name, Micros ends_at) {
    LK_TRY(user, ledger::find_user(t, name));
    if (!user) return fail(Code::kNotFound, "no user " + name.str() + ", or one that was removed");
    LK_CHECK(ledger::remove_factors(t, user->id, kActor));
    LK_CHECK(ledger::end_unlocks(t, user->id, kActor));
    LK_CHECK(ledger::unlock_user(t, name, kActor)); // forgets wrong codes, too
    return ledger::add_invite(t, user->id, ends_at, kActor);
}

} // namespace

Status invite(const Config& config, const std::string& raw_name) {
    LK_TRY(name, UserName::parse(raw_name));
    LK_TRY(keys, settle(config));
    LK_CHECK(need_source(config));
    LK_TRY(shared, lock_state(config, Use::kBroker));
    plugin_host::Loader loader(config.broker.plugin_dir);
    LK_TRY(store, open_store(loader, config));
    const SystemClock clock;
    LK_TRY(ledger, ledger::Ledger::open(*store, {.data_key = keys.data_key.clone(), .clock = &clock}));
    const Micros ends_at = clock.now() + from_seconds(config.limits.invite_seconds);
    LK_TRY(code, ledger->write([&](ledger::Transaction& t) { return let_in_anew(t, name, ends_at); }));
    const std::string& address = config.door.address;
    const std::size_t colon = address.rfind(':');
    std::cout << "Invite code: " << code << "\nremoved all factors of " << name.str()
              << "; the invite is good once, until " << desk::until_text(ends_at, clock.now())
              << "\nrun: ssh -p " << address.substr(colon + 1) << " join@" << address.substr(0, colon)
              << "\nSessions on VMs go on; where the account was stolen, end them: revoke key FINGERPRINT\n";
    return {};
}

} // namespace latchkey::daemon
