// SPDX-License-Identifier: Apache-2.0
#pragma once
// sshd's part of --fix: Latchkey's lines in effect, another AuthorizedKeysCommand chained behind the helper.
// The plan is made without writing anything; fix_sshd shows it to sshd, installs it, looks again.

#include "agent/doctor/change.h"
#include "agent/doctor/checks.h"
#include "agent/doctor/doctor.h"

namespace latchkey::agent::doctor {

struct SshdPlan {
    Drafts drafts;                 // what sshd's files shall hold
    std::string helper_user;       // what AuthorizedKeysCommandUser names
    std::string chained;           // empty: nothing
    bool keeps_principals = false; // an AuthorizedPrincipalsCommand comes into effect again
};

Result<SshdPlan> plan_sshd(const Look& look);
void fix_sshd(const Look& look, const Findings& findings, std::vector<Deed>& deeds);

// What is still owed to the programs that run, by this run or one that was killed.
Status reload_sshd(const Look& look);
Status restart_agent(const Look& look);

} // namespace latchkey::agent::doctor
