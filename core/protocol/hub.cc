// SPDX-License-Identifier: Apache-2.0
#include "core/protocol/hub.h"

#include <algorithm>

#include "core/wire/writer.h"

namespace latchkey::protocol {
namespace {

constexpr std::string_view kSudoExtension = "sudo";

} // namespace

std::string_view word_of(SudoRule rule) {
    switch (rule) {
        case SudoRule::kUnsaid:
            return "";
        case SudoRule::kFree:
            return "free";
        case SudoRule::kFactor:
            return "factor";
        case SudoRule::kDenied:
            break;
    }
    return "none";
}

SudoRule sudo_rule_of(const Grant& grant) {
    const auto found = std::ranges::find(grant.extensions, kSudoExtension, &Extension::name);
    if (found == grant.extensions.end()) return SudoRule::kUnsaid;
    const std::uint8_t raw = found->value.size() == 1 ? found->value.front() : 0;
    const bool is_known = raw != 0 && raw <= static_cast<std::uint8_t>(SudoRule::kLast);
    return is_known ? static_cast<SudoRule>(raw) : SudoRule::kFactor;
}

void set_sudo_rule(Grant& grant, SudoRule rule) {
    if (rule == SudoRule::kUnsaid) return;
    grant.extensions.push_back({std::string(kSudoExtension), {static_cast<std::uint8_t>(rule)}});
}

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
