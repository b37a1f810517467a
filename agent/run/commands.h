// SPDX-License-Identifier: Apache-2.0
#pragma once
// The commands of latchkey-agent, one function each. They return when the command is done; run_agent at
// SIGTERM or SIGINT.

#include <string>
#include <vector>

#include "core/base/result.h"

namespace latchkey::agent {

struct ConfigChoice {
    std::string file; // empty: the default one, which may be missing
};

struct JoinArguments {
    std::string token; // "-": from standard input, so that it stands in no process list
    std::string name;
    std::vector<std::string> labels;
};

struct RunArguments {
    int ready_fd = -1;
    bool is_foreground = false;
};

Status run_join(const ConfigChoice& config, const JoinArguments& arguments);
Status run_first_boot(const ConfigChoice& config); // returns once this VM has joined, or will not
Status run_agent(const ConfigChoice& config, const RunArguments& arguments);
Status run_explain(const ConfigChoice& config, const std::string& login, const std::string& key);
Status run_status(const ConfigChoice& config, bool as_json);
Status run_receipts(const ConfigChoice& config, bool as_json);

} // namespace latchkey::agent
