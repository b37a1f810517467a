// SPDX-License-Identifier: Apache-2.0
#pragma once
// VMs, the tokens by which they join, and the sessions that they report.

#include <optional>
#include <string>
#include <vector>

#include "broker/ledger/ledger.h"
#include "broker/ledger/model.h"
#include "core/keys/public_key.h"

namespace latchkey::ledger {

// Returns id and secret in clear, once; the database keeps the hash. name_pattern "*" allows any name.
struct FreshToken {
    std::string id;
    SecretBytes secret; // text, to be shown once
};
Result<FreshToken> add_join_token(Transaction& t, std::uint32_t uses, Micros ends_at,
                                  const std::string& name_pattern,
                                  const std::vector<protocol::KeyValue>& labels, const std::string& actor);
// Those that have a use and time left, the next to end first.
Result<std::vector<JoinToken>> live_join_tokens(Transaction& t);
// kNotFound; one whose row fails its check is taken away too.
Status remove_join_token(Transaction& t, const std::string& id, const std::string& actor);
// Takes one use and makes the VM, in one transaction. kNotFound for wrong id or secret, kExpired, kConflict
// for a token that is used up, kExists for a taken name, kRefused for a name outside the pattern. A VM whose
// key is already registered gets its old row back (a join that was interrupted) without spending a use.
Result<Vm> join_vm(Transaction& t, std::string_view token_id, ByteView secret, const VmName& name,
                   ByteView raw_key, const std::vector<protocol::KeyValue>& labels);
Result<std::optional<Vm>> find_vm(Transaction& t, const VmName& name);
Result<std::optional<Vm>> find_vm_by_key(Transaction& t, ByteView raw_key); // active ones only
Result<std::vector<Vm>> list_vms(Transaction& t);                           // active ones, by name
// kNotFound; every connected agent hears of it.
Status set_offline_grace(Transaction& t, const VmName& name, std::uint32_t seconds, const std::string& actor);
// One that was removed, by its key: the newest of them.
Result<std::optional<Vm>> find_removed_vm_by_key(Transaction& t, ByteView raw_key);
// The revocation that removed it; 0 where there is none.
Result<Epoch> epoch_of_removal(Transaction& t, const Vm& removed);
Result<std::vector<Vm>> removed_vms_named(Transaction& t, const VmName& name);
// What a VM signs with; kMalformed where the raw key is none.
Result<keys::PublicKey> public_key_of(ByteView raw_key);
Status remove_vm(Transaction& t, const VmName& name, const std::string& actor);
// What the VM reports of itself; no audit row.
Status note_vm_seen(Transaction& t, VmId vm, Micros at, Epoch confirmed, std::int64_t clock_offset_micros,
                    const std::string& software, const std::string& trouble);

// Opened, closed, ended, refused: one row a session, an audit row each.
Status record_session_event(Transaction& t, const Vm& vm, const protocol::SessionEvent& event);
struct SessionFilter {
    std::optional<UserName> user;
    std::optional<VmName> vm;
    bool live_only = true;
};
Result<std::vector<SessionRow>> list_sessions(Transaction& t, const SessionFilter& filter);
Result<std::optional<SessionRow>> find_session(Transaction& t, std::uint64_t id);
// Its VM says that it is not there any more.
Status close_session(Transaction& t, const SessionRow& session, std::string_view reason);
// A VM that comes back says which sessions it has; those that it no longer has are closed.
Result<bool> has_sessions_except(Transaction& t, VmId vm, const std::vector<std::uint64_t>& still_live);
Status close_sessions_except(Transaction& t, VmId vm, const std::vector<std::uint64_t>& still_live);
// VMs on which the user opened a session since then, 64 at most: for prefetch.
Result<std::vector<VmId>> recent_vms_of(Transaction& t, const UserName& user, Micros since);

} // namespace latchkey::ledger
