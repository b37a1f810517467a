// SPDX-License-Identifier: Apache-2.0
#pragma once
// Error codes across the seam: one table for both sides. A Code without a number of its own becomes the
// nearest one; a number that nobody knows is a fault of the plugin.

#include <cstdint>

#include "core/base/error.h"
#include "plugins/sdk/latchkey_plugin.h"

namespace latchkey::sdk {

struct CodePair {
    Code code;
    std::int32_t status;
};

inline constexpr CodePair kCodes[] = {
    {Code::kUsage, LK_ERROR_USAGE},
    {Code::kMalformed, LK_ERROR_MALFORMED},
    {Code::kTooLarge, LK_ERROR_TOO_LARGE},
    {Code::kUnsupported, LK_ERROR_UNSUPPORTED},
    {Code::kNotFound, LK_ERROR_NOT_FOUND},
    {Code::kExists, LK_ERROR_EXISTS},
    {Code::kRefused, LK_ERROR_REFUSED},
    {Code::kConflict, LK_ERROR_CONFLICT},
    {Code::kUnavailable, LK_ERROR_UNAVAILABLE},
    {Code::kTimedOut, LK_ERROR_TIMED_OUT},
    {Code::kConfig, LK_ERROR_CONFIG},
    {Code::kIo, LK_ERROR_IO},
    {Code::kTampered, LK_ERROR_TAMPERED},
    {Code::kInternal, LK_ERROR_INTERNAL},
    // One way only: the first row with a number is the way back.
    {Code::kUnauthenticated, LK_ERROR_REFUSED},
    {Code::kBadSignature, LK_ERROR_REFUSED},
    {Code::kNotYetValid, LK_ERROR_REFUSED},
    {Code::kExpired, LK_ERROR_REFUSED},
    {Code::kRevoked, LK_ERROR_REFUSED},
    {Code::kWeakKey, LK_ERROR_REFUSED},
    {Code::kLocked, LK_ERROR_REFUSED},
};

constexpr std::int32_t status_of(Code code) {
    for (const CodePair& pair : kCodes) {
        if (pair.code == code) return pair.status;
    }
    return LK_ERROR_INTERNAL;
}

constexpr Code code_of(std::int32_t status) {
    for (const CodePair& pair : kCodes) {
        if (pair.status == status) return pair.code;
    }
    return Code::kInternal;
}

} // namespace latchkey::sdk
