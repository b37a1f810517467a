// SPDX-License-Identifier: Apache-2.0
#pragma once
// One PAM service as libpam reads it: its lines in order, @include, include and substack followed. Values.

#include <string>
#include <vector>

#include "agent/doctor/sshd_files.h"

namespace latchkey::agent::doctor {

inline constexpr std::string_view kPamFolder = "/etc/pam.d/";
inline constexpr std::string_view kPamModule = "pam_latchkey.so";

struct PamLine {
    std::string file;
    std::size_t line = 0; // from 1
    std::string type;     // auth, account, session, password
    std::string control;  // "required", "[success=1 default=ignore]"
    std::string module;   // file name without folder
    int substack = 0;     // number of the substack that it stands in; 0: none
    std::string place() const { return file + " line " + std::to_string(line); }
};

Result<std::vector<PamLine>> read_pam_service(Machine& machine, const std::string& service,
                                              const Drafts& drafts = {});

// Lines of one type, in order.
std::vector<PamLine> of_type(const std::vector<PamLine>& lines, std::string_view type);
// The line above `index` that can let PAM pass it by; nullptr: none.
const PamLine* what_can_skip(const std::vector<PamLine>& lines_of_one_type, std::size_t index);

} // namespace latchkey::agent::doctor
