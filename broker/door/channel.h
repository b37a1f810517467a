// SPDX-License-Identifier: Apache-2.0
#pragma once
// A session channel as the console of one command. Output goes out in pieces that the peer's window takes,
// each under a deadline, so that a peer that never reads costs bounded memory and time. At a terminal (pty)
// the client sends keys as they are typed: read_line() edits the line here. One thread; the channel belongs
// to the transport's session and is never freed before it (queued requests point to it).

#include <string>

#include "broker/desk/console.h"
#include "broker/door/transport.h"

namespace latchkey::door {

inline constexpr std::size_t kMaxLine = 1024;

struct Channel {
    ssh_channel raw = nullptr;
    bool has_terminal = false;
    unsigned width = 0;
    bool has_run = false;
};

class ChannelConsole : public desk::Console {
public:
    struct Limits {
        Micros write = from_seconds(30); // for a piece of output that does not move
        Micros read = from_seconds(120); // for a line or for all input
    };
    ChannelConsole(Transport& transport, const Channel& channel, Limits limits)
        : transport_(transport), channel_(channel), limits_(limits) {}

    void out(std::string_view text) override { write(text, false); }
    void err(std::string_view text) override { write(text, true); }
    bool is_terminal() const override { return channel_.has_terminal; }
    unsigned width() const override { return channel_.width; }
    Result<SecretBytes> read_line(desk::Echo echo) override;
    Result<std::string> read_all(std::size_t limit) override;
    bool is_gone() override;
    bool pause(Micros span) override;

    // Exit status, EOF, close; waits until they have left.
    void finish(int exit_status);

private:
    void write(std::string_view text, bool is_error);
    // Next byte of input; kUnavailable at its end or where the peer is gone.
    Result<char> read_byte(const posix::Deadline& deadline);
    Result<SecretBytes> edit_line(desk::Echo echo, const posix::Deadline& deadline);

    Transport& transport_;
    const Channel& channel_;
    const Limits limits_;
    bool is_lost_ = false;
};

} // namespace latchkey::door
