// SPDX-License-Identifier: Apache-2.0
#include "core/wire/reader.h"

namespace latchkey::wire {
namespace {

Failure truncated() {
    return fail(Code::kMalformed, "truncated: bytes are missing at the end");
}

} // namespace

Result<std::uint64_t> Reader::big_endian(std::size_t width) {
    if (rest_.size() < width) return truncated();
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < width; ++i) value = value << 8 | rest_[i];
    rest_ = rest_.subspan(width);
    return value;
}

Result<std::uint8_t> Reader::u8() {
    LK_TRY(value, big_endian(1));
    return static_cast<std::uint8_t>(value);
}

Result<bool> Reader::boolean() {
    if (rest_.empty()) return truncated();
    if (rest_.front() > 1) return fail(Code::kMalformed, "boolean that is neither 0 nor 1");
    LK_TRY(value, big_endian(1));
    return value == 1;
}

Result<std::uint32_t> Reader::u32() {
    LK_TRY(value, big_endian(4));
    return static_cast<std::uint32_t>(value);
}

Result<std::uint64_t> Reader::u64() {
    return big_endian(8);
}

Result<ByteView> Reader::string(std::size_t limit) {
    Reader look = *this;
    LK_TRY(size, look.u32());
    if (size > limit) {
        return fail(Code::kTooLarge, "string of " + std::to_string(size) + " bytes, over its limit of " +
                                         std::to_string(limit));
    }
    LK_TRY(value, look.raw(size));
    rest_ = look.rest_;
    return value;
}

Result<std::string_view> Reader::text(std::size_t limit) {
    LK_TRY(value, string(limit));
    return as_text(value);
}

Result<ByteView> Reader::raw(std::size_t size) {
    if (rest_.size() < size) return truncated();
    const ByteView value = rest_.first(size);
    rest_ = rest_.subspan(size);
    return value;
}

Result<ByteView> Reader::mpint(std::size_t limit) {
    Reader look = *this;
    LK_TRY(value, look.string(limit));
    if (!value.empty()) {
        if ((value.front() & 0x80) != 0) return fail(Code::kMalformed, "negative number");
        if (value.front() == 0 && (value.size() == 1 || (value[1] & 0x80) == 0)) {
            return fail(Code::kMalformed, "number with needless leading zeros");
        }
    }
    rest_ = look.rest_;
    return !value.empty() && value.front() == 0 ? value.subspan(1) : value;
}

Status Reader::expect_end() const {
    if (rest_.empty()) return {};
    return fail(Code::kMalformed, std::to_string(rest_.size()) + " bytes left over at the end");
}

} // namespace latchkey::wire
