// SPDX-License-Identifier: Apache-2.0
#include "core/base/error.h"

namespace latchkey {

const std::vector<CodeInfo>& all_codes() {
    static const std::vector<CodeInfo> table = {
        {Code::kUsage, "usage", 2, "PAM_SERVICE_ERR"},
        {Code::kMalformed, "malformed", 1, "PAM_SERVICE_ERR"},
        {Code::kTooLarge, "too-large", 1, "PAM_SERVICE_ERR"},
        {Code::kUnsupported, "unsupported", 1, "PAM_SERVICE_ERR"},
        {Code::kNotFound, "not-found", 1, "PAM_PERM_DENIED"},
        {Code::kExists, "exists", 1, "PAM_PERM_DENIED"},
        {Code::kRefused, "refused", 1, "PAM_PERM_DENIED"},
        {Code::kUnauthenticated, "unauthenticated", 1, "PAM_AUTH_ERR"},
        {Code::kBadSignature, "bad-signature", 1, "PAM_PERM_DENIED"},
        {Code::kNotYetValid, "not-yet-valid", 1, "PAM_PERM_DENIED"},
        {Code::kExpired, "expired", 1, "PAM_ACCT_EXPIRED"},
        {Code::kRevoked, "revoked", 1, "PAM_PERM_DENIED"},
        {Code::kWeakKey, "weak-key", 1, "PAM_PERM_DENIED"},
        {Code::kLocked, "locked", 1, "PAM_PERM_DENIED"},
        {Code::kConflict, "conflict", 1, "PAM_PERM_DENIED"},
        {Code::kUnavailable, "unavailable", 4, "PAM_AUTHINFO_UNAVAIL"},
        {Code::kTimedOut, "timed-out", 4, "PAM_AUTHINFO_UNAVAIL"},
        {Code::kConfig, "config", 2, "PAM_SERVICE_ERR"},
        {Code::kIo, "io", 4, "PAM_SYSTEM_ERR"},
        {Code::kTampered, "tampered", 4, "PAM_SYSTEM_ERR"},
        {Code::kPartial, "partial", 3, "PAM_SYSTEM_ERR"},
        {Code::kInternal, "internal", 4, "PAM_SYSTEM_ERR"},
    };
    return table;
}

const CodeInfo& info(Code code) {
    for (const CodeInfo& row : all_codes()) {
        if (row.code == code) return row;
    }
    return all_codes().back();
}

std::string Error::line() const {
    return next.empty() ? message : message + "; " + next;
}

} // namespace latchkey
