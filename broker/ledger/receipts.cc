// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/audit.h"
#include "broker/ledger/detail.h"
#include "broker/ledger/revocations.h"
#include "broker/ledger/rows.h"

namespace latchkey::ledger {
namespace {

constexpr std::size_t kReceiptLimit = 64 * 1024;

Bytes encode(const protocol::Receipt& receipt) {
    protocol::Encoder encoder;
    const_cast<protocol::Receipt&>(receipt).fields(encoder); // fields() serves both directions
    return encoder.take();
}

std::optional<ReceiptRow> take_receipt(const Row& row) {
    Columns columns(row);
    ReceiptRow receipt;
    receipt.epoch = columns.id<Epoch>();
    receipt.vm = columns.id<VmId>();
    receipt.vm_name = columns.name<VmName>();
    const Bytes encoded = columns.bytes();
    receipt.received_at = columns.micros();
    protocol::Decoder decoder(encoded);
    receipt.receipt.fields(decoder);
    if (!columns.is_good() || !decoder.finish()) return std::nullopt;
    return receipt;
}

} // namespace

// The receipt is its own record, signed; an audit row tells those that did something or could not.
Status record_receipt(Transaction& t, VmId vm, const protocol::Receipt& receipt) {
    LK_TRY(epoch, current_epoch(t));
    if (receipt.vm_id != vm || receipt.epoch.value == 0 || receipt.epoch > epoch)
        return fail(Code::kRefused, "a receipt for another VM, or for an epoch that is not here yet");
    const Bytes encoded = encode(receipt);
    if (encoded.size() > kReceiptLimit) return fail(Code::kTooLarge, "a receipt over 64 KiB");
    LK_TRY(done, query(t,
                       "INSERT INTO receipts (epoch, vm_id, receipt, received_at) VALUES ($1, $2, $3, $4) "
                       "ON CONFLICT (epoch, vm_id) DO NOTHING",
                       receipt.epoch, vm, encoded, t.now));
    if (done.changed == 0) return {};
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
    LK_TRY(rows, query(t,
                       "SELECT r.epoch, r.vm_id, v.name, r.receipt, r.received_at FROM receipts r "
                       "JOIN vms v ON v.id = r.vm_id WHERE r.epoch = $1 ORDER BY v.name",
                       epoch));
    std::vector<ReceiptRow> receipts;
    for (const Row& row : rows.rows) {
        if (auto receipt = take_receipt(row)) receipts.push_back(std::move(*receipt));
    }
    return receipts;
}

} // namespace latchkey::ledger
