// SPDX-License-Identifier: Apache-2.0
#pragma once
// What main gives to the desk. Everything that it names outlives the desk and may be used from any thread.

#include <string>
#include <vector>

#include "broker/desk/fleet.h"
#include "broker/issue/issuer.h"
#include "broker/ledger/ledger.h"
#include "broker/unlock/factors.h"
#include "core/base/clock.h"
#include "core/keys/public_key.h"

namespace latchkey::desk {

struct Settings {
    std::string door_address = "broker:2222"; // host:port that people type: for the lines to run
    std::string hub_address = "broker:7443";  // host:port for join tokens
    Fingerprint broker_key;                   // the identity that join tokens pin
    std::vector<keys::PublicKey> ledger_keys; // what VMs trust for statements: `ca show`
    Micros admin_fresh = from_seconds(15 * 60);
    Micros invite_for = from_seconds(24 * 3600);
    std::uint32_t grant_ttl_seconds = 3600; // of a rule that names none
    keys::StrengthRules strength;
    std::string ssh_keygen = "/usr/bin/ssh-keygen"; // loads each KRL before it is given out
};

struct Context {
    ledger::Ledger& ledger;
    unlock::Factors& factors;
    issue::Issuer& issuer;
    Fleet& fleet;
    const Clock& clock;
    Settings settings;
};

} // namespace latchkey::desk
