// SPDX-License-Identifier: Apache-2.0
#pragma once
// `latchkey-agent doctor`: examines this machine, with --fix mends what is safe to mend and examines again,
// prints the findings and returns the exit status of finding.h.

#include <string>
#include <vector>

#include "agent/doctor/finding.h"

namespace latchkey::agent::doctor {

struct DoctorArguments {
    std::string config_file; // empty: the default one, which may be missing
    bool as_json = false;
    bool fix = false;
    bool shows_all = false; // also what is well
};

// What --fix did, or left alone and why.
struct Deed {
    std::string_view id; // of the finding
    bool is_done = false;
    std::string what;
};

std::string to_text(const Findings& findings, const std::vector<Deed>& deeds, bool shows_all);
std::string to_json(const Findings& findings, const std::vector<Deed>& deeds);

int run_doctor(const DoctorArguments& arguments);

} // namespace latchkey::agent::doctor
