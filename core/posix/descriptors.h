// SPDX-License-Identifier: Apache-2.0
#pragma once
// How many file descriptors this process may have. At its start, one thread.

#include <cstddef>

namespace latchkey::posix {

// The soft limit becomes the hard one, which systemd's LimitNOFILE sets. Returns how many there are; a low
// guess where the kernel does not say.
std::size_t raise_descriptor_limit();

} // namespace latchkey::posix
