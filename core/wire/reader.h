// SPDX-License-Identifier: Apache-2.0
#pragma once
// Reader takes the data types of RFC 4251 section 5 from a span that the caller keeps alive; what it returns
// points into that span. Every call fails with kMalformed where bytes are missing, and kTooLarge where a
// string is over the limit given; after a failure the reader stays where it was. Nothing is allocated before
// a length is checked.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/bytes.h"
#include "core/base/result.h"

namespace latchkey::wire {

inline constexpr std::size_t kDefaultStringLimit = 64 * 1024;

class Reader {
public:
    explicit Reader(ByteView input) : rest_(input) {}

    Result<std::uint8_t> u8();
    Result<bool> boolean(); // stricter than the RFC: only 0 and 1
    Result<std::uint32_t> u32();
    Result<std::uint64_t> u64();
    Result<ByteView> string(std::size_t limit = kDefaultStringLimit);
    Result<std::string_view> text(std::size_t limit = kDefaultStringLimit);
    Result<ByteView> raw(std::size_t size);
    // Positive mpint in its shortest form -> magnitude without the leading zero. Negative or padded is
    // kMalformed.
    Result<ByteView> mpint(std::size_t limit = kDefaultStringLimit);

    ByteView rest() const { return rest_; }
    bool at_end() const { return rest_.empty(); }
    Status expect_end() const; // kMalformed where bytes are left over

private:
    Result<std::uint64_t> big_endian(std::size_t width);

    ByteView rest_;
};

} // namespace latchkey::wire
