// SPDX-License-Identifier: Apache-2.0
#include "core/protocol/frame.h"

#include "core/wire/reader.h"
#include "core/wire/writer.h"

namespace latchkey::protocol {

Result<std::optional<std::size_t>> frame_size(ByteView input, std::size_t limit) {
    wire::Reader reader(input);
    const auto length = reader.u32();
    if (!length) return std::optional<std::size_t>();
    if (*length == 0) return fail(Code::kMalformed, "frame of length zero");
    if (*length > limit) {
        return fail(Code::kTooLarge, "frame of " + std::to_string(*length) + " bytes, over the limit of " +
                                         std::to_string(limit));
    }
    return std::optional<std::size_t>(std::size_t{*length} + 4);
}

Bytes encode_frame(Type type, ByteView fields) {
    wire::Writer writer;
    writer.reserve(fields.size() + 5);
    writer.u32(static_cast<std::uint32_t>(fields.size() + 1));
    writer.u8(static_cast<std::uint8_t>(type));
    writer.raw(fields);
    return writer.take();
}

Result<Frame> decode_frame(ByteView whole) {
    wire::Reader reader(whole);
    LK_TRY(length, reader.u32());
    if (length == 0 || length != reader.rest().size())
        return fail(Code::kMalformed, "frame and its length differ");
    LK_TRY(type, reader.u8());
    return Frame{static_cast<Type>(type), to_bytes(reader.rest())};
}

} // namespace latchkey::protocol
