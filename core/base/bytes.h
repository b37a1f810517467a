// SPDX-License-Identifier: Apache-2.0
#pragma once
// Bytes own, ByteView looks. Text encodings that SSH and our files use: hex, base64 (RFC 4648 section 4), and
// the unpadded base64 of OpenSSH fingerprints. Decoders are strict: wrong length, alphabet or padding is
// kMalformed.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"

namespace latchkey {

using Bytes = std::vector<std::uint8_t>;
using ByteView = std::span<const std::uint8_t>;

inline ByteView as_bytes(std::string_view text) {
    return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}
inline std::string_view as_text(ByteView bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
inline Bytes to_bytes(ByteView view) {
    return {view.begin(), view.end()};
}
inline bool equal(ByteView a, ByteView b) { // not for secrets: see equal_secret in secret_bytes.h
    return as_text(a) == as_text(b);
}

std::string to_hex(ByteView bytes);
Result<Bytes> from_hex(std::string_view text);

enum class Padding : std::uint8_t { kWith = 1, kWithout };
std::string to_base64(ByteView bytes, Padding padding = Padding::kWith);
Result<Bytes> from_base64(std::string_view text, Padding padding = Padding::kWith);

} // namespace latchkey
