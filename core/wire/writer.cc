// SPDX-License-Identifier: Apache-2.0
#include "core/wire/writer.h"

namespace latchkey::wire {

void Writer::big_endian(std::uint64_t value, int width) {
    for (int shift = (width - 1) * 8; shift >= 0; shift -= 8) {
        out_.push_back(static_cast<std::uint8_t>(value >> shift));
    }
}

void Writer::string(ByteView value) {
    u32(static_cast<std::uint32_t>(value.size()));
    raw(value);
}

void Writer::mpint(ByteView magnitude) {
    while (!magnitude.empty() && magnitude.front() == 0) magnitude = magnitude.subspan(1);
    const bool pad = !magnitude.empty() && (magnitude.front() & 0x80) != 0;
    u32(static_cast<std::uint32_t>(magnitude.size() + (pad ? 1 : 0)));
    if (pad) u8(0);
    raw(magnitude);
}

void Writer::name_list(std::span<const std::string> names) {
    std::string joined;
    for (const std::string& name : names) {
        if (!joined.empty()) joined += ',';
        joined += name;
    }
    string(joined);
}

} // namespace latchkey::wire
