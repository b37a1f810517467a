// SPDX-License-Identifier: Apache-2.0
#pragma once
// One who has shown its key and said Hello, and what the ledger says to that: meet.cc. Values.

#include <optional>

#include "broker/hub/catch_up.h"
#include "broker/ledger/model.h"
#include "core/keys/tls_identity.h"
#include "core/protocol/hub.h"

namespace latchkey::hub {

struct Missed {
    Epoch told; // by us, to all
    Epoch from; // where the agent stands
    Wanted wanted = Wanted::kNew;
};

struct Newcomer {
    keys::RawEd25519 key;
    Missed missed;
};

struct Standing {
    CatchUp catch_up;
    protocol::TrustSet trust;
    bool has_sessions = false; // that are open in the ledger
};

struct Met {
    std::optional<ledger::Vm> vm;             // also one that was removed, and has not answered that yet
    std::optional<Result<Standing>> standing; // where there is a VM
};

} // namespace latchkey::hub
