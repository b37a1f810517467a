// SPDX-License-Identifier: Apache-2.0
#include "core/protocol/hub.h"

#include <algorithm>

#include "core/wire/reader.h"
#include "core/wire/writer.h"

namespace latchkey::protocol {
namespace {

constexpr std::string_view kSudoExtension = "sudo";
constexpr std::string_view kBrokersExtension = "brokers";

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

Bytes encode_brokers(const std::vector<BrokerAddress>& brokers) {
    wire::Writer writer;
    for (const BrokerAddress& broker : brokers) writer.string(broker.text());
    return writer.take();
}

Result<std::vector<BrokerAddress>> decode_brokers(ByteView encoded) {
    std::vector<BrokerAddress> brokers;
    wire::Reader reader(encoded);
    while (!reader.at_end()) {
        LK_TRY(text, reader.text());
        LK_TRY(address, BrokerAddress::parse(text));
        if (brokers.size() == kMaxBrokers)
            return fail(Code::kTooLarge, "more than " + std::to_string(kMaxBrokers) + " brokers");
        brokers.push_back(std::move(address));
    }
    return brokers;
}

std::optional<std::vector<BrokerAddress>> brokers_of(const Welcome& welcome) {
    const auto found = std::ranges::find(welcome.extensions, kBrokersExtension, &Extension::name);
    if (found == welcome.extensions.end()) return std::nullopt;
    auto brokers = decode_brokers(found->value);
    if (!brokers) return std::nullopt;
    return *std::move(brokers);
}

void set_brokers(Welcome& welcome, const std::vector<BrokerAddress>& brokers) {
    welcome.extensions.push_back({std::string(kBrokersExtension), encode_brokers(brokers)});
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
