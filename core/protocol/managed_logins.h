// SPDX-License-Identifier: Apache-2.0
#pragma once
// The list of managed logins: the one file that two programs share. The agent writes it, the PAM module reads
// it while no agent answers, the agent itself where its trust is torn. The first line bears count and CRC-32
// of the lines below it, so that a list cut at a line's end does not read as a shorter one. Lists of before
// that line (the plain head alone) are still read. Bytes: docs/protocol-local.md. Pure; any thread.

#include <string>
#include <string_view>
#include <vector>

#include "core/base/names.h"
#include "core/base/result.h"

namespace latchkey::protocol {

std::string encode_managed_logins(const std::vector<Login>& logins);
// kTampered for whatever is not such a list from its first byte to its last.
Result<std::vector<Login>> parse_managed_logins(std::string_view text);

} // namespace latchkey::protocol
