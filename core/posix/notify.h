// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a service manager that started us (Type=notify) wants to hear; without one, nothing happens. Never
// blocks. False where there is a manager and it was not told: a reason for a line in the log and for no more.
// Any thread.

#include <string_view>

namespace latchkey::posix {

bool notify_ready();
bool notify_alive(); // for WatchdogSec=

} // namespace latchkey::posix
