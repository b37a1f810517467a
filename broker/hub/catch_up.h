// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the ledger says to agents, read and encoded on the pool: revocations since an epoch, and the trust of
// each VM. Pure but for the transaction; any thread.

#include <memory>
#include <vector>

#include "broker/ledger/ledger.h"
#include "broker/ledger/model.h"
#include "core/keys/public_key.h"
#include "core/protocol/hub.h"

namespace latchkey::hub {

// Revocations that bring an agent from `from` to `epoch`.
struct CatchUp {
    Epoch from;
    Epoch epoch;
    bool is_full = false; // the entries are all that is in force: the agent's set is to be replaced
    std::vector<protocol::RevocationEntry> entries;
};

enum class Wanted : std::uint8_t { kNew = 1, kAll };

// A delta where every revocation since `from` is still known and they are few; else, and where all is wanted,
// everything in force. kConflict where `from` lies above the ledger's epoch: the ledger was rolled back.
Result<CatchUp> read_catch_up(ledger::Transaction& t, Epoch from, Wanted wanted = Wanted::kNew);

// The same for a broker that has told its agents of `told`, read from this ledger before: where its epoch
// lies below that now, the ledger was set back, and the answer bears this epoch and nothing else.
Result<CatchUp> read_news(ledger::Transaction& t, Epoch told, Epoch from, Wanted wanted = Wanted::kNew);

// The Revoke messages for it, each well under the frame limit, `last` on the final one; at least one. Entries
// up to `skip` are left out.
std::vector<std::shared_ptr<const Bytes>> encode_revokes(const CatchUp& catch_up, Epoch skip);

// CA and ledger keys are the same for all; the gated logins and the grace are the VM's own.
struct TrustRoots {
    std::vector<Bytes> ca_keys;
    std::vector<Bytes> ledger_keys;
};
protocol::TrustSet trust_of(const TrustRoots& roots, const std::vector<ledger::Rule>& rules,
                            const ledger::Vm& vm);
bool is_same(const protocol::TrustSet& a, const protocol::TrustSet& b);

} // namespace latchkey::hub
