// SPDX-License-Identifier: Apache-2.0
#pragma once
// Bound sessions as bytes, for the file that a restarted agent reads. Strict: kMalformed for anything else.

#include <vector>

#include "agent/sessions/sessions.h"
#include "core/base/bytes.h"

namespace latchkey::agent {

Bytes encode_sessions(const std::vector<BoundSession>& sessions);
Result<std::vector<BoundSession>> decode_sessions(ByteView bytes);

} // namespace latchkey::agent
