// SPDX-License-Identifier: Apache-2.0
#include "core/receipt/receipt.h"

#include "broker/ledger/audit.h"
#include "broker/ledger/detail.h"
#include "broker/ledger/revocations.h"
#include "broker/ledger/rows.h"
#include "broker/ledger/vms.h"

#define LK_RECEIPT_SELECT                                                                   \
    "SELECT r.epoch, r.vm_id, v.name, v.raw_key, r.receipt, r.received_at FROM receipts r " \
    "JOIN vms v ON v.id = r.vm_id "

namespace latchkey::ledger {
namespace {

constexpr std::size_t kReceiptLimit = 64 * 1024;
constexpr std::uint64_t kMostOfOneVm = 8; // for one epoch; over it the newest takes the last one's place

Bytes encode(const protocol::Receipt& receipt) {
    protocol::Encoder encoder;
    const_cast<protocol::Receipt&>(receipt).fields(encoder); // fields() serves both directions
    return encoder.take();
}

bool decode(const Bytes& encoded, protocol::Receipt& receipt) {
    protocol::Decoder decoder(encoded);
    receipt.fields(decoder);
    return decoder.finish().has_value();
}

std::optional<ReceiptRow> take_receipt(const Row& row) {
    Columns columns(row);
    ReceiptRow receipt;
    receipt.epoch = columns.id<Epoch>();
    receipt.vm = columns.id<VmId>();
    receipt.vm_name = columns.name<VmName>();
    const auto key = public_key_of(columns.bytes());
    if (key) receipt.vm_key = key->fingerprint();
    const Bytes encoded = columns.bytes();
    receipt.received_at = columns.micros();
    if (!columns.is_good() || !decode(encoded, receipt.receipt)) return std::nullopt;
    return receipt;
}

Result<std::optional<ReceiptRow>> find_receipt(Transaction& t, std::string_view sql, VmId vm, Epoch epoch) {
    LK_TRY(row, query_one(t, sql, vm, epoch));
    if (!row) return std::optional<ReceiptRow>();
    return take_receipt(*row);
}

// The number under which it is kept; 0 where it says nothing new.
Result<std::uint64_t> number_for(Transaction& t, VmId vm, const protocol::Receipt& receipt) {
    LK_TRY(row, query_one(t,
                          "SELECT number, receipt FROM receipts WHERE epoch = $1 AND vm_id = $2 "
                          "ORDER BY number DESC LIMIT 1",
                          receipt.epoch, vm));
    if (!row) return std::uint64_t{1};
    Columns columns(*row);
    const std::uint64_t last = columns.number();
    protocol::Receipt before;
    const Bytes kept = columns.bytes();
    const bool is_new = kept != encode(receipt) && decode(kept, before) && receipt::adds_to(before, receipt);
    return is_new ? std::min(last + 1, kMostOfOneVm) : 0;
}

Status see_epoch(Transaction& t) {
    if (t.scratch.seen_epoch) return {};
    LK_TRY(epoch, current_epoch(t));
    t.scratch.seen_epoch = epoch;
    return {};
}

} // namespace

// The receipt is its own record, signed; an audit row tells those that did something or could not.
Status record_receipt(Transaction& t, VmId vm, const protocol::Receipt& receipt) {
    LK_CHECK(see_epoch(t));
    if (receipt.vm_id != vm || receipt.epoch.value == 0 || receipt.epoch > *t.scratch.seen_epoch)
        return fail(Code::kRefused, "a receipt for another VM, or for an epoch that is not here yet");
    const Bytes encoded = encode(receipt);
    if (encoded.size() > kReceiptLimit) return fail(Code::kTooLarge, "a receipt over 64 KiB");
    LK_TRY(number, number_for(t, vm, receipt));
    if (number == 0) return {};
    LK_CHECK(post(t,
                  "INSERT INTO receipts (epoch, vm_id, number, receipt, received_at) "
                  "VALUES ($1, $2, $3, $4, $5) ON CONFLICT (epoch, vm_id, number) "
                  "DO UPDATE SET receipt = $4, received_at = $5",
                  receipt.epoch, vm, number, encoded, t.now));
    LK_TRY(row, query_one(t,
                          "UPDATE vms SET confirmed_epoch = CASE WHEN confirmed_epoch < $2 THEN $2 ELSE "
                          "confirmed_epoch END WHERE id = $1 RETURNING name",
                          vm, receipt.epoch));
    if (!row) return fail(Code::kNotFound, "no such VM");
    if (receipt.sessions_found == 0 && receipt.trouble.empty()) return {};
    const std::string self = "vm:" + Columns(*row).text();
    return append_audit(t, {self, "revocation.receipt", self, receipt.trouble.empty() ? "done" : "deny",
                            Detail()
                                .id("epoch", receipt.epoch.value)
                                .number("sessions_found", receipt.sessions_found)
                                .number("sessions_ended", receipt.sessions_ended)
                                .number("grants_purged", receipt.grants_purged)
                                .text("trouble", receipt.trouble)
                                .json()});
}

Result<std::vector<ReceiptRow>> receipts_for(Transaction& t, Epoch epoch) {
    LK_TRY(rows, query(t, LK_RECEIPT_SELECT "WHERE r.epoch = $1 ORDER BY v.name, r.vm_id, r.number", epoch));
    std::vector<ReceiptRow> receipts;
    for (const Row& row : rows.rows) {
        if (auto receipt = take_receipt(row)) receipts.push_back(std::move(*receipt));
    }
    return receipts;
}

Result<std::optional<ReceiptRow>> first_receipt_since(Transaction& t, VmId vm, Epoch epoch) {
    return find_receipt(
        t, LK_RECEIPT_SELECT "WHERE r.vm_id = $1 AND r.epoch >= $2 ORDER BY r.epoch, r.number LIMIT 1", vm,
        epoch);
}

Result<std::optional<ReceiptRow>> last_receipt_since(Transaction& t, VmId vm, Epoch epoch) {
    return find_receipt(t,
                        LK_RECEIPT_SELECT
                        "WHERE r.vm_id = $1 AND r.epoch >= $2 ORDER BY r.epoch DESC, r.number DESC LIMIT 1",
                        vm, epoch);
}

} // namespace latchkey::ledger
