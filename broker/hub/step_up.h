// SPDX-License-Identifier: Apache-2.0
#pragma once
// May the person of this session use sudo now? Judged as things stand: the session is one that this VM has
// reported and not closed, its key is registered, policy allows the login, the unlock is live; then what
// policy says about sudo, and the code. Blocks on the ledger and in a plugin; any thread. An error means that
// it cannot be judged: the caller denies.

#include "broker/issue/deny_log.h"
#include "broker/unlock/factors.h"

namespace latchkey::hub {

struct StepUpJudge {
    ledger::Ledger& ledger;
    unlock::Factors& factors;
    const Clock& clock;
    issue::DenyLog& denials; // bounds the audit rows of denials that no code made
};
Result<protocol::HubStepUpAnswer> judge_step_up(const StepUpJudge& judge, const ledger::Vm& vm,
                                                const protocol::HubStepUp& asked);

} // namespace latchkey::hub
