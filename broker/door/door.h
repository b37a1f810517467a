// SPDX-License-Identifier: Apache-2.0
#pragma once
// The door: people come in by SSH. start() binds its own listening sockets; the thread "lk-door" accepts,
// keeps those that wait in its lobby (a socket each, no thread), and gives whoever has a place (admission.h)
// a thread "lk-door-N" (crew.h) that runs login and commands in linear style. That one blocks on the socket,
// the ledger, the signer and the hub, each wait with a deadline. All that Parts names outlives it; stop()
// ends every connection and joins every thread.

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "broker/desk/console.h"
#include "broker/door/admission.h"
#include "broker/door/conversation.h"
#include "broker/door/crew.h"
#include "broker/door/figures.h"
#include "broker/door/host_key.h"
#include "broker/door/lobby.h"
#include "broker/door/login.h"
#include "broker/metrics/registry.h"
#include "core/base/unique_handle.h"

namespace latchkey::door {

enum class LogLevel : std::uint8_t { kInfo = 1, kWarn, kError };

class Door {
public:
    struct Parts {
        ledger::Ledger& ledger;
        unlock::Factors& factors;
        desk::Handler& handler;           // the desk
        const keys::PrivateKey& identity; // ed25519: the host key
        const Clock& clock;
        keys::StrengthRules strength;
        std::function<void(LogLevel, std::string_view)> log; // any thread; may be empty
    };
    struct Settings {
        std::vector<std::string> listen = {"0.0.0.0:2222"}; // address:port, "[v6]:port"; port 0: any
        Micros login_grace = from_seconds(60);
        std::size_t waiting = 1024; // connections in the lobby
        Admission::Limits admission;
        LoginDialogue::Limits login;
        Conversation::Limits conversation;
        Transport::Options transport;
    };

    // Binds and starts the thread. kConfig for an address that does not parse, kIo where it cannot be bound.
    static Result<std::unique_ptr<Door>> start(Parts parts, Settings settings);
    ~Door();
    void stop(); // idempotent

    std::uint16_t port() const; // of the first address

    void describe(metrics::Registry& registry) const;

private:
    Door(Parts parts, Settings settings);
    Status bind();
    Status watch(int fd, std::uint64_t what, std::uint32_t events);
    void accept_loop();
    void accept_from(int listener);
    void heard_from(std::uint64_t visitor, std::uint32_t events);
    void send_away(Visitor visitor, Refusal why);
    void seat_visitors();
    void seat(Visitor visitor, Admission::Ticket ticket);
    void serve(UniqueFd socket, const std::string& from, Admission::Ticket ticket);
    void log(LogLevel level, std::string_view line) const;

    const Parts parts_;
    const Settings settings_;
    HostKey host_key_;
    UniqueFd stop_;  // eventfd, readable once stop() was called; every wait polls it
    UniqueFd wake_;  // eventfd: a place came free, and somebody waits for one
    UniqueFd epoll_; // the acceptor's
    std::atomic<bool> has_waiting_ = false;
    Admission admission_;
    Lobby lobby_; // the acceptor's alone
    DoorFigures figures_;
    std::vector<UniqueFd> listeners_;
    std::thread acceptor_;
    Crew crew_; // after what its jobs use
};

} // namespace latchkey::door
