// SPDX-License-Identifier: Apache-2.0
#pragma once
// Whether the system bus still answers: the first words of its handshake, under a deadline. sdbus-c++
// connects without one and waits for a bus that hangs for up to 90 s, while a session is to be ended.
// Blocking, any thread.

#include "core/base/result.h"
#include "core/posix/stream.h"

namespace latchkey::agent {

// kNotFound: this machine has no system bus, as a container has none: its socket is not there. To learn that
// from what sdbus-c++ throws costs an agent half a MiB for as long as it runs, in pages of the libraries and
// of the unwinder's tables. An address other than a socket's path is not looked at.
Status find_system_bus();

// kUnavailable: nobody listens; kTimedOut: it hangs. An address other than a socket's path is not looked at.
Status probe_system_bus(const posix::Deadline& deadline);

} // namespace latchkey::agent
