// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a command talks to: its output, one line or all of its input, and who calls. The door gives a channel
// of an SSH connection, tests a capture. One thread; calls may block until their own deadline. Output to a
// peer that is gone or does not read is dropped, and is_gone() says so.

#include <cstdint>
#include <string>
#include <string_view>

#include "core/base/clock.h"
#include "core/base/names.h"
#include "core/base/result.h"
#include "core/base/secret_bytes.h"

namespace latchkey::desk {

enum class Echo : std::uint8_t { kOn = 1, kOff };

class Console {
public:
    virtual ~Console() = default;
    virtual void out(std::string_view text) = 0; // stdout
    virtual void err(std::string_view text) = 0; // stderr
    virtual bool is_terminal() const = 0;
    virtual unsigned width() const = 0; // columns; 0 where there is no terminal
    // A line without its end; kUnavailable at the end of input, kTimedOut, kTooLarge over 1 KiB.
    virtual Result<SecretBytes> read_line(Echo echo) = 0;
    // All that comes until the end of input; at a terminal one line.
    virtual Result<std::string> read_all(std::size_t limit) = 0;
    virtual bool is_gone() = 0;
    // Lets time pass while the connection is served; false where the peer is gone.
    virtual bool pause(Micros span) = 0;
};

// Proven by the login: the user holds this key. Role and state are asked of the ledger with each command.
struct Caller {
    UserName name;
    RowId user;
    RowId key;
    Fingerprint fingerprint;
    std::string from; // address
    Micros login_at;  // when the connection was authenticated
    bool has_just_joined = false;
};

// What the door hands a request to. Any thread; returns the exit status.
class Handler {
public:
    virtual ~Handler() = default;
    virtual int run(const Caller& caller, std::string_view command_line, Console& console) = 0;
    // False once account or key of this login are gone or locked; true where nobody can say.
    virtual bool is_welcome(const Caller& caller) = 0;
};

} // namespace latchkey::desk
