// SPDX-License-Identifier: Apache-2.0
#pragma once
// What went wrong, in three parts: a stable code, one line for an operator, and what to do next.
// The table in error.cc gives each code its name, its exit status and its PAM code; docs/errors.md lists the
// same table and a test compares them. A refusal by policy is not an Error: see Decision in core/protocol.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace latchkey {

enum class Code : std::uint8_t {
    kUsage = 1,       // the caller's words are wrong
    kMalformed,       // bytes or text that do not parse
    kTooLarge,        // over a stated limit
    kUnsupported,     // well formed, but a type or version that we do not do
    kNotFound,        // no such thing
    kExists,          // there already
    kRefused,         // policy, permit table or limit says no
    kUnauthenticated, // the peer did not prove who it is
    kBadSignature,    // a signature or MAC does not verify
    kNotYetValid,     // before its window
    kExpired,         // after its window
    kRevoked,         // taken away
    kWeakKey,         // a public key below our strength rules
    kLocked,          // account locked
    kConflict,        // compare-and-swap lost, or a use count is spent
    kUnavailable,     // the other side does not answer
    kTimedOut,        // the absolute deadline passed
    kConfig,          // configuration file
    kIo,              // file, socket or device
    kTampered,        // a stored row or state file that fails its check
    kPartial,         // done in part: a receipt is missing
    kInternal,        // a fault of ours
};

struct Error {
    Code code = Code::kInternal;
    std::string message; // what and why, one line, no secrets, no raw bytes
    std::string next;    // what to do next; may be empty

    // "message; next" as one line for a terminal.
    std::string line() const;
};

struct CodeInfo {
    Code code;
    std::string_view name; // stable, used in --json, logs and D-Bus error names
    int exit_status;      // DESIGN section 9: 1 refused or not found, 2 usage, 3 partly done, 4 cannot answer
    std::string_view pam; // name of the PAM return code
};

const CodeInfo& info(Code code);
const std::vector<CodeInfo>& all_codes();

} // namespace latchkey
