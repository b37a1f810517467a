// SPDX-License-Identifier: Apache-2.0
#pragma once
// One question to the agent, one answer, within two seconds in all (a code: six). Blocking. Any failure, a
// refusal of the agent included, is an Error: the caller falls back to the list of managed logins.

#include <string>

#include "core/posix/stream.h"
#include "core/protocol/local.h"

namespace latchkey::pam {

inline constexpr Micros kAgentTimeLimit = from_seconds(2);

Result<protocol::Frame> ask_agent(const std::string& socket, ByteView request,
                                  Micros limit = kAgentTimeLimit);

template <class Answer, class Request>
Result<Answer> ask(const std::string& socket, const Request& request) {
    LK_TRY(frame, ask_agent(socket, protocol::encode(request)));
    return protocol::decode<Answer>(frame);
}

} // namespace latchkey::pam
