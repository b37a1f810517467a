// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/vms.h"

#include "broker/ledger/audit.h"
#include "broker/ledger/clean_text.h"
#include "broker/ledger/detail.h"
#include "broker/ledger/tables.h"
#include "core/wire/writer.h"

namespace latchkey::ledger {
namespace {

constexpr std::size_t kVmTextLimit = 200;

// What the VM reports of itself, after the columns that the MAC covers; spoilt text there decides nothing.
std::optional<Vm> take_vm(Transaction& t, const Row& row) {
    Columns columns(row);
    auto stored = take_row<Vm>(t, columns);
    if (!stored) return std::nullopt;
    Vm& vm = stored->value;
    vm.last_seen = columns.micros();
    vm.confirmed_epoch = columns.id<Epoch>();
    vm.clock_offset_micros = columns.integer();
    vm.software = columns.text();
    vm.trouble = columns.text();
    return std::move(vm);
}

Result<std::optional<Vm>> take_active(Transaction& t, const std::optional<Row>& row) {
    if (!row) return std::optional<Vm>();
    auto vm = take_vm(t, *row);
    if (vm && vm->state != VmState::kActive) vm.reset();
    return vm;
}

} // namespace

Result<std::optional<Vm>> find_vm(Transaction& t, const VmName& name) {
    LK_TRY(row, query_one(t, "SELECT " LK_VM_COLUMNS " FROM vms v WHERE v.name = $1 AND v.state = 1", name));
    return take_active(t, row);
}

Result<std::optional<Vm>> find_vm_by_key(Transaction& t, ByteView raw_key) {
    LK_TRY(row,
           query_one(t, "SELECT " LK_VM_COLUMNS " FROM vms v WHERE v.raw_key = $1 AND v.state = 1", raw_key));
    return take_active(t, row);
}

Result<std::vector<Vm>> list_vms(Transaction& t) {
    LK_TRY(rows, query(t, "SELECT " LK_VM_COLUMNS " FROM vms v WHERE v.state = 1 ORDER BY v.name"));
    std::vector<Vm> vms;
    for (const Row& row : rows.rows) {
        if (auto vm = take_vm(t, row)) vms.push_back(std::move(*vm));
    }
    return vms;
}

Status set_offline_grace(Transaction& t, const VmName& name, std::uint32_t seconds,
                         const std::string& actor) {
    LK_TRY(stored,
           find_row<Vm>(t, "SELECT " LK_VM_COLUMNS " FROM vms v WHERE v.name = $1 AND v.state = 1", name));
    if (!stored) return fail(Code::kNotFound, "no VM " + name.str(), "see: vm ls");
    Vm& vm = stored->value;
    vm.offline_grace_seconds = seconds;
    const std::uint64_t next = stored->version + 1;
    LK_CHECK(execute_on_one(t, "VM " + name.str(),
                            "UPDATE vms SET version = $2, offline_grace_seconds = $3, mac = $4 "
                            "WHERE id = $1 AND version = $5",
                            vm.id, next, seconds, mac_of(t, vm, next), stored->version));
    t.scratch.has_policy_changed = true;
    return append_audit(t, {actor, "vm.set", "vm:" + name.str(), "done",
                            Detail().number("offline_grace_seconds", seconds).json()});
}

Result<std::optional<Vm>> find_removed_vm_by_key(Transaction& t, ByteView raw_key) {
    LK_TRY(row,
           query_one(t,
                     "SELECT " LK_VM_COLUMNS
                     " FROM vms v WHERE v.raw_key = $1 AND v.state = 2 ORDER BY v.joined_at DESC LIMIT 1",
                     raw_key));
    if (!row) return std::optional<Vm>();
    return take_vm(t, *row);
}

Result<Epoch> epoch_of_removal(Transaction& t, const Vm& removed) {
    LK_TRY(row, query_one(t,
                          "SELECT COALESCE(MIN(epoch), 0) FROM revocations "
                          "WHERE kind = 'vm' AND text = $1 AND made_at >= $2",
                          removed.name, removed.joined_at));
    return Epoch{row ? Columns(*row).number() : 0};
}

Result<std::vector<Vm>> removed_vms_named(Transaction& t, const VmName& name) {
    LK_TRY(rows, query(t, "SELECT " LK_VM_COLUMNS " FROM vms v WHERE v.name = $1 AND v.state = 2", name));
    std::vector<Vm> vms;
    for (const Row& row : rows.rows) {
        if (auto vm = take_vm(t, row)) vms.push_back(std::move(*vm));
    }
    return vms;
}

Result<keys::PublicKey> public_key_of(ByteView raw_key) {
    wire::Writer writer;
    writer.string(keys::type_name(keys::KeyType::kEd25519));
    writer.string(raw_key);
    return keys::PublicKey::from_blob(writer.bytes());
}

// Takes a row that fails its check too, and empties it: what it says is not known.
Status remove_vm(Transaction& t, const VmName& name, const std::string& actor) {
    LK_TRY(row, query_one(t, "SELECT " LK_VM_COLUMNS " FROM vms v WHERE v.name = $1 AND v.state = 1", name));
    if (!row) return fail(Code::kNotFound, "no VM " + name.str(), "see: vm ls");
    Columns columns(*row);
    Vm removed;
    removed.id = columns.id<VmId>();
    removed.name = name;
    const std::uint64_t next = columns.number() + 1;
    if (auto vm = take_vm(t, *row)) removed = std::move(*vm);
    removed.state = VmState::kRemoved;
    LK_CHECK(execute(t,
                     "UPDATE vms SET version = $2, name = $3, raw_key = $4, labels = $5, state = $6, "
                     "offline_grace_seconds = $7, joined_at = $8, mac = $9 WHERE id = $1",
                     removed.id, next, removed.name, removed.key, encode_labels(removed.labels),
                     removed.state, removed.offline_grace_seconds, removed.joined_at,
                     mac_of(t, removed, next)));
    LK_CHECK(execute(t,
                     "UPDATE sessions SET closed_at = $2, phase = 2, end_reason = 'VM removed' "
                     "WHERE vm_id = $1 AND closed_at = 0",
                     removed.id, t.now));
    t.scratch.has_policy_changed = true;
    return append_audit(t, {actor, "vm.remove", "vm:" + name.str(), "done", "{}"});
}

Status note_vm_seen(Transaction& t, VmId vm, Micros at, Epoch confirmed, std::int64_t clock_offset_micros,
                    const std::string& software, const std::string& trouble) {
    return post(t,
                "UPDATE vms SET last_seen = $2, confirmed_epoch = CASE WHEN confirmed_epoch < $3 THEN $3 "
                "ELSE confirmed_epoch END, clock_offset_micros = $4, "
                "software = $5, trouble = $6 WHERE id = $1",
                vm, at, confirmed, clock_offset_micros, clean_text(software, kVmTextLimit),
                clean_text(trouble, kVmTextLimit));
}

} // namespace latchkey::ledger
