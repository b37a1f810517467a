// SPDX-License-Identifier: Apache-2.0
#pragma once
// Writer appends the data types of RFC 4251 section 5 to a buffer that it owns. A string longer than 2^32 - 1
// bytes cannot be asked for: callers hold far smaller limits. take() hands the buffer over and leaves the
// writer empty.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "core/base/bytes.h"

namespace latchkey::wire {

class Writer {
public:
    void u8(std::uint8_t value) { out_.push_back(value); }
    void boolean(bool value) { u8(value ? 1 : 0); }
    void u32(std::uint32_t value) { big_endian(value, 4); }
    void u64(std::uint64_t value) { big_endian(value, 8); }
    void string(ByteView value);
    void string(std::string_view value) { string(as_bytes(value)); }
    void raw(ByteView value) { out_.insert(out_.end(), value.begin(), value.end()); }
    // Unsigned big-endian magnitude -> mpint: leading zeros dropped, one added where the top bit is set.
    void mpint(ByteView magnitude);
    // "name-list": names joined by commas.
    void name_list(std::span<const std::string> names);

    const Bytes& bytes() const { return out_; }
    Bytes take() { return std::exchange(out_, {}); }
    void reserve(std::size_t size) { out_.reserve(size); }

private:
    void big_endian(std::uint64_t value, int width);

    Bytes out_;
};

} // namespace latchkey::wire
