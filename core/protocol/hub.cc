// SPDX-License-Identifier: Apache-2.0
#include "core/protocol/hub.h"

#include "core/wire/writer.h"

namespace latchkey::protocol {

Bytes receipt_signed_bytes(const Receipt& receipt) {
    wire::Writer writer;
    writer.string("latchkey-receipt-v1");
    writer.u64(receipt.epoch.value);
    writer.u64(receipt.vm_id.value);
    writer.u32(receipt.sessions_found);
    writer.u32(receipt.sessions_ended);
    writer.u32(receipt.grants_purged);
    writer.u64(static_cast<std::uint64_t>(receipt.time.value));
    writer.string(receipt.trouble);
    return writer.take();
}

} // namespace latchkey::protocol
