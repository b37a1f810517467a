// SPDX-License-Identifier: Apache-2.0
#pragma once
// Who waits to hear what became of a session that they asked a VM to end. Any thread; wait() blocks.

#include <condition_variable>
#include <list>
#include <mutex>
#include <optional>

#include "core/base/clock.h"
#include "core/base/names.h"
#include "core/base/result.h"
#include "core/protocol/hub.h"

namespace latchkey::hub {

class EndWaits {
public:
    // Lasts until wait() returns. Made before the VM is asked, so that no answer is missed.
    struct Ticket {
        VmId vm;
        std::uint64_t session = 0;
        std::optional<protocol::SessionOutcome> outcome;
        bool is_lost = false;
    };
    using TicketRef = std::list<Ticket>::iterator;

    TicketRef begin(VmId vm, std::uint64_t session);
    // kUnavailable: the VM left, or the hub closes. kTimedOut: it says nothing.
    Result<protocol::SessionOutcome> wait(TicketRef ticket, Micros left);

    // Lets that time pass; false where the hub closes.
    bool pause(Micros span);

    void tell(VmId vm, std::uint64_t session, protocol::SessionOutcome outcome);
    void lose(VmId vm);
    void close();

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::list<Ticket> tickets_;
    bool is_closed_ = false;
};

} // namespace latchkey::hub
