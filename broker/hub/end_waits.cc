// SPDX-License-Identifier: Apache-2.0
#include "broker/hub/end_waits.h"

#include <algorithm>
#include <chrono>

namespace latchkey::hub {

EndWaits::TicketRef EndWaits::begin(VmId vm, std::uint64_t session) {
    const std::lock_guard lock(mutex_);
    return tickets_.insert(tickets_.end(), Ticket{vm, session, std::nullopt, false});
}

Result<protocol::SessionOutcome> EndWaits::wait(TicketRef ticket, Micros left) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::microseconds(std::max<std::int64_t>(left.value, 0)),
                      [&] { return is_closed_ || ticket->outcome || ticket->is_lost; });
    const Ticket ended = *ticket;
    tickets_.erase(ticket);
    if (ended.outcome) return *ended.outcome;
    if (ended.is_lost || is_closed_) {
        return fail(Code::kUnavailable, "the VM left before it answered",
                    "look at: sessions ls; or revoke the certificate: that reaches it when it is back");
    }
    return fail(Code::kTimedOut, "the VM was told, and has not said what became of the session",
                "look at: sessions ls; an older agent says nothing of a session that is gone");
}

bool EndWaits::pause(Micros span) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::microseconds(span.value), [&] { return is_closed_; });
    return !is_closed_;
}

void EndWaits::tell(VmId vm, std::uint64_t session, protocol::SessionOutcome outcome) {
    const std::lock_guard lock(mutex_);
    for (Ticket& ticket : tickets_) {
        if (ticket.vm == vm && ticket.session == session && !ticket.outcome) ticket.outcome = outcome;
    }
    changed_.notify_all();
}

void EndWaits::lose(VmId vm) {
    const std::lock_guard lock(mutex_);
    for (Ticket& ticket : tickets_) {
        if (ticket.vm == vm) ticket.is_lost = true;
    }
    changed_.notify_all();
}

void EndWaits::close() {
    const std::lock_guard lock(mutex_);
    is_closed_ = true;
    changed_.notify_all();
}

} // namespace latchkey::hub
