// SPDX-License-Identifier: Apache-2.0
#pragma once
// Opens a session within the settings' deadline, says why where TLS refuses. Any thread.

#include "plugins/postgres/handles.h"
#include "plugins/postgres/settings.h"

namespace latchkey::postgres {

Result<Session> connect(const Settings& settings);
// What the session must run before anything else.
std::string set_up_script(const Settings& settings);

// Waits until the session's socket can be read (or written, where wanted) or the deadline passes: then false.
bool wait_for_socket(PGconn* session, bool for_writing, std::chrono::steady_clock::time_point deadline);

} // namespace latchkey::postgres
