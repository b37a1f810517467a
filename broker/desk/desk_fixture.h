// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the desk's own tests begin with: an admin who is unlocked, and bob of group dev, who may log in to
// web-* as deploy and is not unlocked.

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "broker/desk/desk_for_tests.h"
#include "broker/ledger/vms.h"

namespace latchkey::desk {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

class DeskCommands : public DeskTest {
protected:
    DeskCommands() : admin_(add_member("admin", ledger::Role::kAdmin)), bob_(add_member("bob")) {
        open_unlock(admin_);
        out(admin_, "group add dev");
        out(admin_, "group join dev bob");
        out(admin_, "grant add --group dev --vm 'web-*' --login deploy --allow pty");
    }
    json as_json(const Member& member, const std::string& line) {
        return json::parse(out(member, line + " --json"), nullptr, false);
    }

    // A live session of bob's there, as deploy.
    void open_session(const ledger::Vm& vm, std::uint64_t id) {
        ledger::take(write([&](ledger::Transaction& t) {
            protocol::SessionEvent event;
            event.session = id;
            event.user = bob_.user.name;
            event.login = ledger::take(Login::parse("deploy"));
            event.key = bob_.key.fingerprint;
            event.serial = Serial{5};
            event.from = "192.0.2.9";
            event.time = t.now;
            return ledger::record_session_event(t, vm, event);
        }));
    }

    Member admin_;
    Member bob_;
};

using DeskOwn = DeskCommands;
using DeskRights = DeskCommands;
using DeskNouns = DeskCommands;
using DeskRevoke = DeskCommands;

} // namespace latchkey::desk
