// SPDX-License-Identifier: Apache-2.0
#include "agent/sessions/tree_ender.h"

#include "agent/sessions/footprint.h"

namespace latchkey::agent {

EndResult TreeEnder::end(const BoundSession& session, const posix::Deadline& deadline) {
    auto footprint = footprint_of(session);
    if (!footprint || freeze_and_kill(*footprint, deadline) == EndResult::kStillThere)
        return EndResult::kStillThere;
    return leaves_doubt(session, *footprint) ? EndResult::kStillThere : EndResult::kGone;
}

} // namespace latchkey::agent
