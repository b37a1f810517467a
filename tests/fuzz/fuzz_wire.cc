// SPDX-License-Identifier: Apache-2.0
#include "core/wire/reader.h"
#include "core/wire/writer.h"
#include "tests/fuzz/fuzz.h"

using latchkey::ByteView;

// The input is a program: a byte that picks a type, then that type's bytes. Written again, what was read is
// the same bytes; a read that failed leaves the reader where it was.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const ByteView input(data, size);
    latchkey::wire::Reader reader(input);
    latchkey::wire::Writer writer;
    const auto copy = [&](const auto& value, auto write) {
        if (value) write(*value);
        return value.has_value();
    };
    while (!reader.at_end()) {
        const std::uint8_t type = *reader.u8();
        const std::size_t left = reader.rest().size();
        bool is_read = false;
        writer.u8(type);
        switch (type % 7) {
            case 0:
                is_read = copy(reader.u8(), [&](auto v) { writer.u8(v); });
                break;
            case 1:
                is_read = copy(reader.boolean(), [&](auto v) { writer.boolean(v); });
                break;
            case 2:
                is_read = copy(reader.u32(), [&](auto v) { writer.u32(v); });
                break;
            case 3:
                is_read = copy(reader.u64(), [&](auto v) { writer.u64(v); });
                break;
            case 4:
                is_read = copy(reader.string(100), [&](auto v) { writer.string(v); });
                break;
            case 5:
                is_read = copy(reader.mpint(100), [&](auto v) { writer.mpint(v); });
                break;
            case 6:
                is_read = copy(reader.raw(type), [&](auto v) { writer.raw(v); });
                break;
        }
        if (!is_read) {
            LK_MUST(reader.rest().size() == left);
            break;
        }
    }
    LK_MUST(latchkey::equal(writer.bytes(), input.first(size - reader.rest().size())));
    LK_MUST(reader.expect_end().has_value() == reader.at_end());
    return 0;
}
