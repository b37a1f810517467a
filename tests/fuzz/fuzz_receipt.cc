// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "core/receipt/receipt.h"
#include "tests/fuzz/fuzz.h"

namespace r = latchkey::receipt;

// The input is a file of receipts, or of known VMs. Receipts that were read are written as what is read back
// as the same; what is said of one is one printable line.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text = latchkey::as_text({data, size});
    if (const auto known = r::parse_known_vms(text)) {
        for (const r::KnownVm& entry : *known) LK_MUST(!entry.vm.empty());
    }
    const auto receipts = r::from_json(text);
    if (!receipts) return 0;
    LK_MUST(!receipts->empty());
    const std::string written = r::to_json(*receipts);
    const auto again = r::from_json(written);
    LK_MUST(again && r::to_json(*again) == written);
    for (const r::SignedReceipt& one : *receipts) {
        const std::string line = r::describe(one);
        LK_MUST(std::ranges::none_of(line, [](char c) { return static_cast<unsigned char>(c) < ' '; }));
    }
    return 0;
}
