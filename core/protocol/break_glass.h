// SPDX-License-Identifier: Apache-2.0
#pragma once
// The spool of break-glass uses: the PAM module adds a line for each session of such an account, whether an
// agent runs or not; the agent reports the lines to the broker and empties the file. Bytes:
// docs/protocol-local.md. Pure; any thread.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/clock.h"
#include "core/base/names.h"

namespace latchkey::protocol {

// Both beside the list of managed logins. The accounts are listed as managed logins are.
inline constexpr std::string_view kBreakGlassListFile = "break-glass";
inline constexpr std::string_view kBreakGlassSpoolFile = "break-glass-uses";
inline constexpr std::size_t kBreakGlassSpoolLimit = 1024 * 1024;

struct BreakGlassUse {
    Micros at; // the VM's own clock
    Login login;
    std::string service;
    std::string from; // empty: not over the network
    bool operator==(const BreakGlassUse&) const = default;
};

// One line with its line feed; what is no plain word in service and from becomes '?'.
std::string encode_use(const BreakGlassUse& use);
struct SpooledUses {
    std::vector<BreakGlassUse> uses;
    std::size_t unreadable = 0; // lines that are torn: a use each, of which nothing else is known
};
SpooledUses parse_uses(std::string_view spool);

} // namespace latchkey::protocol
