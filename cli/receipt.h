// SPDX-License-Identifier: Apache-2.0
#pragma once
// `latchkey receipt verify`: is what a VM signed about a revocation genuine, judged without the broker, by
// keys that the reader has from elsewhere. Main thread; reads files, prints nothing.

#include <filesystem>
#include <string>

#include "core/base/result.h"

namespace latchkey::cli {

struct ReceiptSource {
    std::string file;  // "-": standard input
    std::string key;   // a file with the VM's public key; empty: none
    std::string known; // a file of keys by VM name; empty: known_vms beside the profile
    std::string vm;    // only this VM's receipts; empty: all
};

// One line that says what was verified. All receipts or none: the first that does not verify is the error.
Result<std::string> verify_receipts(const ReceiptSource& source);

std::filesystem::path known_vms_file();

} // namespace latchkey::cli
