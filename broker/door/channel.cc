// SPDX-License-Identifier: Apache-2.0
#include "broker/door/channel.h"

#include <algorithm>
#include <utility>

namespace latchkey::door {
namespace {

constexpr std::size_t kPiece = 16 * 1024;
constexpr char kEndOfText = 0x03;  // Ctrl-C
constexpr char kEndOfInput = 0x04; // Ctrl-D
constexpr char kKillLine = 0x15;   // Ctrl-U

// The client's terminal is raw while a pty is open.
std::string with_carriage_returns(std::string_view text) {
    std::string out;
    out.reserve(text.size() + text.size() / 16);
    for (const char c : text) {
        if (c == '\n') out += '\r';
        out += c;
    }
    return out;
}

} // namespace

bool ChannelConsole::is_gone() {
    if (!is_lost_ && !transport_.is_gone()) {
        // A look at the socket, without waiting.
        const Status looked = transport_.pump(posix::Deadline::after(from_millis(1)));
        if (!looked && looked.error().code != Code::kTimedOut) is_lost_ = true;
    }
    return is_lost_ || transport_.is_gone() || ssh_channel_is_open(channel_.raw) == 0;
}

bool ChannelConsole::pause(Micros span) {
    const posix::Deadline deadline = posix::Deadline::after(span);
    while (!is_lost_ && !transport_.is_gone() && ssh_channel_is_open(channel_.raw) != 0) {
        const Status waited = transport_.pump(deadline);
        if (!waited && waited.error().code == Code::kTimedOut) return true;
        if (!waited) is_lost_ = true;
    }
    return false;
}

void ChannelConsole::write(std::string_view text, bool is_error) {
    const std::string cooked = channel_.has_terminal ? with_carriage_returns(text) : std::string(text);
    std::string_view rest = cooked;
    posix::Deadline deadline = posix::Deadline::after(limits_.write);
    while (!rest.empty() && !is_lost_) {
        if (transport_.is_gone() || ssh_channel_is_open(channel_.raw) == 0) break;
        const std::size_t window = ssh_channel_window_size(channel_.raw);
        if (window == 0) {
            if (!transport_.pump(deadline)) is_lost_ = true;
            continue;
        }
        const auto size = static_cast<std::uint32_t>(std::min({rest.size(), window, kPiece}));
        const int written = is_error ? ssh_channel_write_stderr(channel_.raw, rest.data(), size)
                                     : ssh_channel_write(channel_.raw, rest.data(), size);
        if (written < 0) break;
        rest.remove_prefix(static_cast<std::size_t>(written));
        deadline = posix::Deadline::after(limits_.write);
        if (!transport_.flush(deadline)) break;
    }
    if (!rest.empty()) is_lost_ = true;
}

Result<char> ChannelConsole::read_byte(const posix::Deadline& deadline) {
    for (;;) {
        char byte = 0;
        const int got = ssh_channel_read_nonblocking(channel_.raw, &byte, 1, 0);
        if (got == 1) return byte;
        if (got == SSH_ERROR || is_lost_) break;
        if (ssh_channel_is_eof(channel_.raw) != 0 || ssh_channel_is_open(channel_.raw) == 0) break;
        LK_CHECK(transport_.pump(deadline));
    }
    return fail(Code::kUnavailable, "end of input");
}

Result<SecretBytes> ChannelConsole::read_line(desk::Echo echo) {
    const posix::Deadline deadline = posix::Deadline::after(limits_.read);
    if (channel_.has_terminal) return edit_line(echo, deadline);
    SecretBytes line(kMaxLine);
    std::size_t size = 0;
    for (;;) {
        auto byte = read_byte(deadline);
        if (!byte) {
            if (byte.error().code != Code::kUnavailable || size == 0) return fail(std::move(byte).error());
            break; // the last line may lack its end
        }
        if (*byte == '\n') break;
        if (size == kMaxLine) return fail(Code::kTooLarge, "line is over 1 KiB");
        line.writable()[size++] = static_cast<std::uint8_t>(*byte);
    }
    while (size > 0 && line.view()[size - 1] == '\r') --size;
    return SecretBytes(line.view().first(size));
}

Result<SecretBytes> ChannelConsole::edit_line(desk::Echo echo, const posix::Deadline& deadline) {
    const bool shows = echo == desk::Echo::kOn;
    SecretBytes line(kMaxLine);
    std::size_t size = 0;
    for (;;) {
        LK_TRY(byte, read_byte(deadline));
        if (byte == '\r' || byte == '\n') break;
        if (byte == kEndOfText || (byte == kEndOfInput && size == 0)) {
            err("\n");
            return fail(Code::kUnavailable, "end of input");
        }
        if (byte == kKillLine) {
            while (size > 0) {
                --size;
                if (shows) err("\b \b");
            }
        } else if (byte == '\b' || byte == 0x7f) {
            if (size == 0) continue;
            --size;
            if (shows) err("\b \b");
        } else if (static_cast<unsigned char>(byte) >= 0x20) {
            if (size == kMaxLine) return fail(Code::kTooLarge, "line is over 1 KiB");
            line.writable()[size++] = static_cast<std::uint8_t>(byte);
            if (shows) err(std::string_view(&byte, 1));
        }
    }
    err("\n");
    return SecretBytes(line.view().first(size));
}

Result<std::string> ChannelConsole::read_all(std::size_t limit) {
    if (channel_.has_terminal) {
        LK_TRY(line, read_line(desk::Echo::kOn));
        return std::string(as_text(line.view()));
    }
    const posix::Deadline deadline = posix::Deadline::after(limits_.read);
    std::string all;
    for (;;) {
        auto byte = read_byte(deadline);
        if (!byte) {
            if (byte.error().code != Code::kUnavailable || transport_.is_gone()) return fail(byte.error());
            return all;
        }
        if (all.size() == limit)
            return fail(Code::kTooLarge, "input is over " + std::to_string(limit) + " bytes");
        all += *byte;
    }
}

void ChannelConsole::finish(int exit_status) {
    if (transport_.is_gone()) return;
    if (ssh_channel_is_open(channel_.raw) != 0) {
        ssh_channel_request_send_exit_status(channel_.raw, exit_status);
        ssh_channel_send_eof(channel_.raw);
    }
    ssh_channel_close(channel_.raw);
    // A failure shows at the next wait for a request.
    (void)transport_.flush(posix::Deadline::after(limits_.write)).has_value();
    transport_.forget(channel_.raw);
}

} // namespace latchkey::door
