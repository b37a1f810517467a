// SPDX-License-Identifier: Apache-2.0
#include "broker/door/conversation.h"

#include <algorithm>
#include <utility>

namespace latchkey::door {
namespace {

constexpr int kMaxWidth = 1000;

unsigned width_of(ssh_message message) {
    return static_cast<unsigned>(std::clamp(ssh_message_channel_request_pty_width(message), 0, kMaxWidth));
}

} // namespace

Error Conversation::run() {
    posix::Deadline idle = posix::Deadline::after(limits_.idle);
    posix::Deadline look = posix::Deadline::after(limits_.look);
    for (;;) {
        if (look.passed()) {
            if (!handler_.is_welcome(caller_))
                return {Code::kRevoked, "this account or key has no access any more", "ask an admin"};
            look = posix::Deadline::after(limits_.look);
        }
        auto message = transport_.next(look.poll_millis() < idle.poll_millis() ? look : idle);
        if (!message && message.error().code == Code::kTimedOut && !idle.passed()) continue;
        if (!message) return std::move(message).error();
        switch (ssh_message_type(message->get())) {
            case SSH_REQUEST_CHANNEL_OPEN:
                on_open(message->get());
                break;
            case SSH_REQUEST_CHANNEL:
                on_request(message->get());
                break;
            default: // global requests (forwarding), authentication after the login
                ssh_message_reply_default(message->get());
        }
        idle = posix::Deadline::after(limits_.idle);
    }
}

std::size_t Conversation::open_count() const {
    return static_cast<std::size_t>(std::count_if(channels_.begin(), channels_.end(), [](const auto& entry) {
        return ssh_channel_is_open(entry.first) != 0;
    }));
}

void Conversation::on_open(ssh_message message) {
    const bool is_session = ssh_message_subtype(message) == SSH_CHANNEL_SESSION;
    if (!is_session || channels_.size() >= limits_.all_channels || open_count() >= limits_.open_channels) {
        ssh_message_reply_default(message);
        return;
    }
    ssh_channel const raw = ssh_message_channel_request_open_reply_accept(message);
    if (raw == nullptr) return;
    ssh_channel_set_blocking(raw, 0);
    channels_.emplace(raw, Channel{raw});
}

void Conversation::on_request(ssh_message message) {
    const auto found = channels_.find(ssh_message_channel_request_channel(message));
    if (found == channels_.end()) {
        ssh_message_reply_default(message);
        return;
    }
    Channel& channel = found->second;
    switch (ssh_message_subtype(message)) {
        case SSH_CHANNEL_REQUEST_PTY:
            channel.has_terminal = true;
            channel.width = width_of(message);
            ssh_message_channel_request_reply_success(message);
            return;
        case SSH_CHANNEL_REQUEST_WINDOW_CHANGE:
            channel.width = width_of(message);
            return; // wants no reply
        case SSH_CHANNEL_REQUEST_SHELL:
            if (!channel.has_run) return run_command(channel, message, "");
            break;
        case SSH_CHANNEL_REQUEST_EXEC: {
            const char* command = ssh_message_channel_request_command(message);
            if (!channel.has_run && command != nullptr) return run_command(channel, message, command);
            break;
        }
        default: // environment, subsystem, X11, agent
            break;
    }
    ssh_message_reply_default(message);
}

void Conversation::run_command(Channel& channel, ssh_message message, const std::string& command_line) {
    channel.has_run = true;
    ssh_message_channel_request_reply_success(message);
    ChannelConsole console(transport_, channel, limits_.console);
    int status = 0;
    {
        const metrics::Stopwatch watch(took_);
        status = handler_.run(caller_, command_line, console);
    }
    console.finish(status);
}

} // namespace latchkey::door
