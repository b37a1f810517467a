// SPDX-License-Identifier: Apache-2.0
#pragma once
// Loads a KRL with the stock ssh-keygen -Q before it is given out: a file that no sshd reads locks everybody
// out. The file never touches the disk. Blocks until ssh-keygen ends, 5 s at most; any thread.

#include <string>

#include "core/base/bytes.h"
#include "core/base/result.h"

namespace latchkey::desk {

// OK also where there is no ssh-keygen at that path; kInternal where it does not take the KRL.
Status check_krl(ByteView krl, const std::string& ssh_keygen);

} // namespace latchkey::desk
