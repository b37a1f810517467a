// SPDX-License-Identifier: Apache-2.0
#include "agent/sessions/tree_ender.h"

#include "agent/sessions/footprint.h"

namespace latchkey::agent {

EndResult TreeEnder::end(const BoundSession& session, const posix::Deadline& deadline) {
    const Footprint footprint = footprint_of(session);
    if (freeze_and_kill(footprint, {}, deadline) == EndResult::kStillThere) return EndResult::kStillThere;
    // Of a dead monitor nothing proves that the scope of its day is still the same: say so, touch nothing.
    if (footprint.scope.empty() && populated().scopes.contains(session.logind_session))
        return EndResult::kStillThere;
    return EndResult::kGone;
}

} // namespace latchkey::agent
