// SPDX-License-Identifier: Apache-2.0
#pragma once
// The desk: takes a command line from the door, finds the command, judges role and freshness, runs it. Any
// number of threads; blocks on ledger, signer and hub. Start reading at command.h; each noun has a file.

#include "broker/desk/command.h"

namespace latchkey::desk {

class Desk : public Handler {
public:
    // From now on each unlock that opens or is prolonged is told to the fleet (prefetch).
    explicit Desk(Context context);

    // An empty line (a login without a command) is `status`.
    int run(const Caller& caller, std::string_view command_line, Console& console) override;
    bool is_welcome(const Caller& caller) override;

private:
    Status dispatch(const Caller& caller, std::string_view command_line, Console& console, bool& wants_json);
    Result<Call> open(const Caller& caller, std::string_view command_line, Console& console) const;
    Status welcome(Call& call, bool is_command) const;

    const Context context_;
};

} // namespace latchkey::desk
