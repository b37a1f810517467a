// SPDX-License-Identifier: Apache-2.0
#pragma once
// Who has answered a revocation. A VM has once its signed receipt for this epoch, or a later one, is in the
// ledger; expected are the VMs that had joined when it was made, and one that it removed. A receipt that
// names trouble is an answer, but no confirmation, until a later one of that VM names none. Values.

#include <algorithm>
#include <string>
#include <vector>

#include "core/base/clock.h"
#include "core/base/names.h"

namespace latchkey::hub {

enum class Answer : std::uint8_t {
    kConfirmed = 1,
    kTrouble,     // its receipt says that something is not done
    kWaiting,     // connected, has not answered yet
    kRefused,     // connected, and does not understand revocations
    kUnreachable, // not connected
};

struct VmAnswer {
    VmId id;
    VmName name;
    Answer answer = Answer::kUnreachable;
    bool was_lost = false; // it left while we looked on
    // Of its receipts; 0 where there is none.
    Micros answered_at;
    Epoch receipt_epoch; // a later one than asked for, where it had missed several
    std::uint64_t sessions_found = 0;
    std::uint64_t sessions_ended = 0;
    std::string trouble;
    Micros last_seen;
    Micros offline_grace;
    Micros grants_end; // when the last grant that it may still serve ends by itself
};

struct ReceiptCount {
    Epoch epoch;
    Micros drop_at;            // by then everything that it covers has ended
    std::vector<VmAnswer> vms; // by name

    std::size_t expected() const { return vms.size(); }
    std::size_t count(Answer answer) const {
        return static_cast<std::size_t>(std::ranges::count(vms, answer, &VmAnswer::answer));
    }
    std::size_t confirmed() const { return count(Answer::kConfirmed); }
    bool is_complete() const { return confirmed() == expected(); }
};

} // namespace latchkey::hub
