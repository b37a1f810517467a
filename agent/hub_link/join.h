// SPDX-License-Identifier: Apache-2.0
#pragma once
// `latchkey-agent join`: proves this VM's key to the broker that the token pins, spends the token, and keeps
// what came of it. Nothing is kept of a join that fails but the identity key; neither opens what PAM keeps
// closed. Blocking; runs its own io_context.

#include <vector>

#include "agent/trust/state_folder.h"

namespace latchkey::agent {

struct JoinWishes {
    VmName name; // asked for; the token's pattern judges it
    std::vector<protocol::KeyValue> labels;
};

Result<BrokerPin> join(const StateFolder& folder, const protocol::JoinToken& token, const JoinWishes& wishes);

// "k=v"
Result<protocol::KeyValue> parse_label(std::string_view text);
// The host's name, as far as it makes a VM name.
Result<VmName> name_of_host();

} // namespace latchkey::agent
