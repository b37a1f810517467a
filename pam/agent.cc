// SPDX-License-Identifier: Apache-2.0
#include "pam/agent.h"

namespace latchkey::pam {

Result<protocol::Frame> ask_agent(const std::string& socket, ByteView request, Micros limit) {
    const auto deadline = posix::Deadline::after(limit);
    LK_TRY(stream, posix::Stream::connect_unix(socket, deadline));
    LK_CHECK(stream.send(request, deadline));
    LK_TRY(frame, stream.receive(protocol::kLocalFrameLimit, deadline));
    if (frame.type == protocol::Type::kRefused) {
        LK_TRY(refused, protocol::decode<protocol::Refused>(frame));
        return fail(Code::kRefused, "the agent refused: " + refused.message, refused.next);
    }
    return frame;
}

} // namespace latchkey::pam
