// SPDX-License-Identifier: Apache-2.0
#pragma once
// The [store] table of latchkeyd.toml as libpq wants it. url is a conninfo or a postgresql:// address; the
// other settings win over what it says. A server on another machine is checked (verify-full) unless the
// settings say otherwise; the password belongs into a passfile, never into a message.

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "plugins/sdk/host.h"

namespace latchkey::postgres {

struct Settings {
    static Result<Settings> read(const sdk::Host& host);

    std::vector<std::pair<std::string, std::string>> parameters; // in order: a later one wins
    std::string where;                                           // for messages: name@host
    std::chrono::milliseconds connect_timeout{};
    std::chrono::milliseconds statement_timeout{};
};

} // namespace latchkey::postgres
