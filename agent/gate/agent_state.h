// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the agent knows and holds, in memory, for the loop's thread: time, lease, trust, revocations, grants,
// which logins are gated, and what is wrong. Where something is wrong that could let the wrong person in,
// denies() is true and managed logins stay closed until it is mended.

#include <array>
#include <optional>
#include <set>
#include <string>

#include "agent/decide/grant_cache.h"
#include "agent/decide/lease.h"

namespace latchkey::agent {

enum class TroubleKind : std::uint8_t {
    kState = 1,         // a state file is torn: denies
    kUnknownRevocation, // a revocation that we cannot apply: denies
    kRevocations,       // those on disk are torn: denies until the broker has sent all
    kTrust,             // what we trust is torn: denies until the broker has said it
    kRollback,          // the broker is older than our disk
    kDisk,              // a revocation could not be recorded
    kTrustFile,         // nor what we trust and gate
    kBreakGlassFile,    // nor the list of break-glass accounts
    kReportsFile,       // nor what is to be reported
    kSessionsFile,      // nor the bound sessions
    kBroker,            // the broker refuses us
    kHelper,            // the helper's user does not exist
    kSessions,          // what an earlier run had bound could not be read
    kBus,               // our name on the system bus is missing
    kLast = kBus
};

class Troubles {
public:
    void set(TroubleKind kind, std::string line) { at(kind) = std::move(line); }
    void clear(TroubleKind kind) { at(kind).clear(); }
    const std::string& of(TroubleKind kind) const { return lines_[static_cast<std::size_t>(kind)]; }
    bool denies() const {
        for (const TroubleKind kind : {TroubleKind::kState, TroubleKind::kUnknownRevocation,
                                       TroubleKind::kRevocations, TroubleKind::kTrust}) {
            if (!of(kind).empty()) return true;
        }
        return false;
    }
    std::string line() const; // all of them, one line

private:
    std::string& at(TroubleKind kind) { return lines_[static_cast<std::size_t>(kind)]; }
    std::array<std::string, static_cast<std::size_t>(TroubleKind::kLast) + 1> lines_;
};

struct AgentState {
    explicit AgentState(const Clock& the_clock)
        : clock(the_clock), broker_clock(the_clock), lease(broker_clock) {}

    const Clock& clock;
    BrokerClock broker_clock;
    Lease lease;
    VmName vm;
    VmId vm_id;
    protocol::TrustSet trust;
    TrustedKeys trusted;
    revocation::RevocationSet revocations;
    GrantCache grants;
    Troubles troubles;
    std::vector<Login> managed_by_config;
    std::set<Login> managed;        // by config and broker
    std::set<Login> local;          // never gated
    std::vector<Login> break_glass; // of them: each use is reported
    // The list of managed logins could not be read: every login but the local ones counts as managed.
    bool everything_is_managed = false;

    // How often we say that we are alive and tidy up; as the broker wishes.
    Micros beat = from_seconds(5);

    bool is_local(const Login& login) const { return local.contains(login); }
    bool is_managed(const Login& login) const {
        return !is_local(login) && (everything_is_managed || managed.contains(login));
    }
    // What PAM is to keep closed while no agent runs.
    std::vector<Login> gated() const;
    JudgedBy judged() const { return {trusted, revocations, vm, broker_clock.now(), broker_clock.latest()}; }
    // Takes over what the broker says that we trust and gate. On failure nothing has changed.
    Status adopt(const protocol::TrustSet& fresh);
    void set_managed(const std::vector<Login>& by_broker);
};

} // namespace latchkey::agent
