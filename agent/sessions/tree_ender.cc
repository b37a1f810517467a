// SPDX-License-Identifier: Apache-2.0
#include "agent/sessions/tree_ender.h"

#include "agent/sessions/footprint.h"

namespace latchkey::agent {

EndResult TreeEnder::end(const BoundSession& session, const posix::Deadline& deadline) {
    return freeze_and_kill(footprint_of(session.monitor), {}, deadline);
}

} // namespace latchkey::agent
