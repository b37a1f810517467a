// SPDX-License-Identifier: Apache-2.0
#pragma once
// The newest receipts that this VM has signed, in memory and in the state folder: its own proof, whatever
// becomes of the broker's. Written whole each time, off the loop's thread, those that come meanwhile
// together. A list that cannot be read or written closes nothing: it is logged, the damaged file set aside.
// The loop's thread only; the loop and the folder outlive it.

#include <vector>

#include "agent/loop/disk_queue.h"
#include "agent/trust/state_folder.h"

namespace latchkey::agent {

inline constexpr std::size_t kReceiptsKept = 1024;

class ReceiptLog {
public:
    ReceiptLog(Loop& loop, const StateFolder& folder) : disk_(loop), folder_(folder) {}

    void restore(); // what earlier runs signed; before the first keep()
    // A receipt that says no more than the newest one of its epoch is not kept again: each reconnect makes
    // one.
    void keep(const protocol::Receipt& receipt);
    const std::vector<protocol::Receipt>& all() const { return receipts_; } // oldest first

private:
    void write_now();

    DiskQueue disk_;
    const StateFolder& folder_;
    std::vector<protocol::Receipt> receipts_;
    bool is_writing_ = false;
    bool is_due_ = false;
};

} // namespace latchkey::agent
