// SPDX-License-Identifier: Apache-2.0
#pragma once
// What brokers on one database tell each other through it: who is alive, which VM is connected where, and
// sessions to be ended at VMs that another one has. None of it lets anybody in. A broker that dies stops
// saying that it is alive, and with it its VMs stop counting as connected.

#include <optional>
#include <string>
#include <vector>

#include "broker/ledger/ledger.h"
#include "broker/ledger/model.h"

namespace latchkey::ledger {

// Without a word for so many heartbeats, a broker is taken for gone.
inline constexpr std::int64_t kAliveHeartbeats = 4;

struct BrokerRun {
    RowId id; // of one run: a broker that starts anew is another one
    std::string address;
};
RowId new_run();
// It is alive now; rows of those that have been silent for a day go.
Status note_broker(Transaction& t, const BrokerRun& run);
Status forget_broker(Transaction& t, RowId run);
// kConflict where a broker, on whatever machine, has said within `alive_for` that it serves this store:
// which, and how long to wait where it is dead and could not take its word back. Nothing where the store has
// another schema: what comes next tells that.
Status need_no_broker(plugin_host::Connection& connection, Micros now, Micros alive_for);
// A database is served under one identity and one ledger key, by however many brokers: VMs are pinned to
// them. The first start's are kept; kConfig for another's.
Status check_broker_keys(Transaction& t, const Fingerprint& identity, const Fingerprint& ledger_key);

enum class SudoWord : std::uint8_t { kNone = 1, kAsks }; // whether the VM's agent asks about sudo
// They are connected to this run; any number, in few statements.
Status place_vms(Transaction& t, RowId run, SudoWord sudo, std::vector<VmId> vms);
// They have left this run; one that is at another by now stays there.
Status unplace_vms(Transaction& t, RowId run, std::vector<VmId> vms);

struct PlacedVm {
    VmId vm;
    RowId broker;
    bool is_alive = false; // that broker has said so since the time asked for
    SudoWord sudo = SudoWord::kNone;
    Epoch confirmed;
    bool has_trouble = false; // as its last receipt said
};
// All that are connected anywhere, removed ones that have not left yet among them.
Result<std::vector<PlacedVm>> placed_vms(Transaction& t, Micros alive_since);

// A session to be ended by the broker that has its VM.
struct SessionEndRow {
    RowId id;
    VmId vm;
    std::uint64_t session = 0;
    std::string reason;
};
Result<RowId> ask_session_end(Transaction& t, VmId vm, std::uint64_t session, std::string_view reason);
// Not answered, and asked for since then, of VMs that this run has.
Result<std::vector<SessionEndRow>> session_ends_for(Transaction& t, RowId run, Micros since);
Status answer_session_end(Transaction& t, RowId id, protocol::SessionOutcome outcome);
Result<std::optional<protocol::SessionOutcome>> outcome_of_session_end(Transaction& t, RowId id);
Status drop_session_end(Transaction& t, RowId id);

} // namespace latchkey::ledger
