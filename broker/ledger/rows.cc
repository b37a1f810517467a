// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/rows.h"

namespace latchkey::ledger {

const Value* Columns::next() {
    if (at_ < row_.size()) return &row_[at_++];
    is_good_ = false;
    return nullptr;
}

std::int64_t Columns::integer() {
    const Value* value = next();
    if (const auto* integer = value == nullptr ? nullptr : std::get_if<std::int64_t>(value)) return *integer;
    is_good_ = false;
    return 0;
}

std::uint64_t Columns::number() {
    const std::int64_t value = integer();
    if (value >= 0) return static_cast<std::uint64_t>(value);
    is_good_ = false;
    return 0;
}

std::uint32_t Columns::number32() {
    const std::uint64_t value = number();
    if (value <= UINT32_MAX) return static_cast<std::uint32_t>(value);
    is_good_ = false;
    return 0;
}

bool Columns::boolean() {
    const std::int64_t value = integer();
    if (value != 0 && value != 1) is_good_ = false;
    return value == 1;
}

std::string Columns::text() {
    const Value* value = next();
    if (const auto* text = value == nullptr ? nullptr : std::get_if<std::string>(value)) return *text;
    is_good_ = false;
    return {};
}

Bytes Columns::bytes() {
    const Value* value = next();
    if (const auto* bytes = value == nullptr ? nullptr : std::get_if<Bytes>(value)) return *bytes;
    is_good_ = false;
    return {};
}

} // namespace latchkey::ledger
