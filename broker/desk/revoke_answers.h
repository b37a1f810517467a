// SPDX-License-Identifier: Apache-2.0
#pragma once
// What VMs have answered to a revocation, as a person and a script read it, and the wait for it. The waiting
// call blocks its own thread, serves its connection meanwhile, and reads the store twice, however long it
// waits.

#include <string>

#include "broker/desk/command.h"
#include "broker/hub/receipts.h"

namespace latchkey::desk {

// Which VMs there are is for auditors: others read numbers alone.
enum class VmNames : std::uint8_t { kShown = 1, kHidden };
VmNames names_for(const Call& call);

struct Wait {
    Epoch epoch;
    Micros began; // monotonic
    Micros span;
    bool is_for_all = false; // for unreachable ones too; else for connected ones alone
};
struct Waited {
    hub::ReceiptCount count;
    Micros took;
};
// At a terminal it shows the count as it grows, on one line, and takes that away again.
Result<Waited> await_answers(Call& call, const Wait& wait);

// "398/400 VMs confirmed in 0.31 s; 2 unreachable: web-7 (last seen 12 min ago, its grants end in 4 min), …"
std::string answers_line(const hub::ReceiptCount& count, Micros took, Micros now, VmNames names);

std::vector<Record> answer_rows(const hub::ReceiptCount& count); // a row a VM
// vms_expected, vms_confirmed; and by name vms_missing, vms_troubled, unconfirmed.
void add_answers(Record& record, const hub::ReceiptCount& count, VmNames names);
// kPartial where a receipt is missing or names trouble.
Status check_complete(const hub::ReceiptCount& count);

} // namespace latchkey::desk
