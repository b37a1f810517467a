// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the rooms of the agent see of the connection to the broker. The loop's thread only.

#include "core/base/bytes.h"

namespace latchkey::agent {

class HubPort {
public:
    virtual ~HubPort() = default;
    // Now or never: nothing is kept where no broker is connected.
    virtual void send(Bytes frame) = 0;
    // Now, or once a broker is back: receipts and session events. Bounded; the oldest gives way.
    virtual void post(Bytes frame) = 0;
};

} // namespace latchkey::agent
