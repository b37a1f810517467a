// SPDX-License-Identifier: Apache-2.0
#include "plugins/totp/qr.h"

#include <qrencode.h>

#include "core/base/unique_handle.h"

namespace latchkey::totp {
namespace {

using QrCode = UniqueHandle<QRcode, QRcode_free>;

constexpr int kQuietZone = 2; // modules; the standard's 4 would not leave room on 24 lines

bool is_light(const QRcode& code, int x, int y) {
    if (x < 0 || y < 0 || x >= code.width || y >= code.width) return true;
    return (code.data[y * code.width + x] & 1) == 0;
}

const char* half_block(bool upper, bool lower) {
    if (upper && lower) return "█";
    if (upper) return "▀";
    return lower ? "▄" : " ";
}

} // namespace

std::string draw_qr(std::string_view text) {
    const QrCode code(QRcode_encodeString8bit(std::string(text).c_str(), 0, QR_ECLEVEL_L));
    if (!code) return {};
    std::string drawn;
    for (int y = -kQuietZone; y < code->width + kQuietZone; y += 2) {
        for (int x = -kQuietZone; x < code->width + kQuietZone; ++x) {
            // The last line may have an upper half alone: below it the quiet zone has ended.
            const bool below = y + 1 < code->width + kQuietZone && is_light(*code, x, y + 1);
            drawn += half_block(is_light(*code, x, y), below);
        }
        drawn += '\n';
    }
    return drawn;
}

} // namespace latchkey::totp
