// SPDX-License-Identifier: Apache-2.0
#include "agent/revoke/receipt_log.h"

#include <algorithm>
#include "agent/log/log.h"
#include "core/receipt/receipt.h"

namespace latchkey::agent {

void ReceiptLog::restore() {
    auto held = folder_.load_receipts();
    if (held) {
        receipts_ = *std::move(held);
    } else if (held.error().code != Code::kNotFound) {
        log_error("fail to load receipts why=" + held.error().line());
        folder_.set_receipts_aside();
    }
}

void ReceiptLog::keep(const protocol::Receipt& receipt) {
    if (receipt.epoch.value == 0) return; // a new broker: nothing was revoked yet
    const auto before = std::find_if(receipts_.rbegin(), receipts_.rend(), [&](const auto& one) {
        return one.epoch == receipt.epoch && one.vm_id == receipt.vm_id;
    });
    if (before != receipts_.rend() && !receipt::adds_to(*before, receipt)) return;
    receipts_.push_back(receipt);
    if (receipts_.size() > kReceiptsKept) receipts_.erase(receipts_.begin());
    is_due_ = true;
    if (!is_writing_) write_now();
}

void ReceiptLog::write_now() {
    is_due_ = false;
    is_writing_ = true;
    disk_.write([folder = folder_, receipts = receipts_] { return folder.save_receipts(receipts); },
                [this](const Status& written) {
                    is_writing_ = false;
                    if (!written) log_error("fail to record receipts why=" + written.error().line());
                    if (is_due_) write_now();
                });
}

} // namespace latchkey::agent
