// SPDX-License-Identifier: Apache-2.0
#pragma once
// The root parent of a signer that dropped root: forks the worker, waits, forks again when it dies, since
// nobody else may become the signer's user then. It parses nothing, holds no key and serves nothing. A worker
// that never got ready ends the keeper with the same status; one that ends with 0 (latchkeyd is gone) ends it
// too.

#include <functional>

namespace latchkey::signer {

// Runs `worker(ready)` in a child; the worker calls ready() once it serves. Returns the exit status in the
// keeper; the worker's process ends with what `worker` returns.
int keep(const std::function<int(const std::function<void()>& ready)>& worker);

} // namespace latchkey::signer
