// SPDX-License-Identifier: Apache-2.0
#include "agent/doctor/finding.h"

#include <algorithm>

namespace latchkey::agent::doctor {

std::string_view name_of(Severity severity) {
    switch (severity) {
        case Severity::kOk:
            return "ok";
        case Severity::kUnseen:
            return "unseen";
        case Severity::kWarning:
            return "warning";
        case Severity::kProblem:
            return "problem";
    }
    return "problem";
}

int exit_status(const Findings& findings) {
    const auto any = [&](Severity severity) {
        return std::any_of(findings.begin(), findings.end(),
                           [&](const Finding& finding) { return finding.severity == severity; });
    };
    if (any(Severity::kProblem)) return 1;
    return any(Severity::kUnseen) ? 3 : 0;
}

} // namespace latchkey::agent::doctor
