// SPDX-License-Identifier: Apache-2.0
#pragma once
// What follows a login: session channels, a command in each, one at a time; further ones wait their turn
// (ControlMaster), up to 10 at once and 64 a connection. No forwarding of any kind, no subsystem, environment
// ignored. One thread. Returns when the peer leaves, is idle too long, has lost account or key, or the door
// shuts down.

#include <map>

#include "broker/desk/console.h"
#include "broker/door/channel.h"
#include "broker/door/transport.h"
#include "broker/metrics/metric.h"

namespace latchkey::door {

class Conversation {
public:
    struct Limits {
        Micros idle = from_seconds(600);
        Micros look = from_seconds(30); // how often it asks whether the caller still has account and key
        std::size_t open_channels = 10;
        std::size_t all_channels = 64;
        ChannelConsole::Limits console;
    };
    Conversation(Transport& transport, const desk::Caller& caller, desk::Handler& handler, Limits limits,
                 metrics::Histogram& took)
        : transport_(transport), caller_(caller), handler_(handler), limits_(limits), took_(took) {}

    // Why it ended; kUnavailable is the normal end.
    Error run();

private:
    void on_open(ssh_message message);
    void on_request(ssh_message message);
    void run_command(Channel& channel, ssh_message message, const std::string& command_line);
    std::size_t open_count() const;

    Transport& transport_;
    const desk::Caller& caller_;
    desk::Handler& handler_;
    const Limits limits_;
    metrics::Histogram& took_; // each command
    std::map<ssh_channel, Channel> channels_;
};

} // namespace latchkey::door
