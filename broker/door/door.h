// SPDX-License-Identifier: Apache-2.0
#pragma once
// The door: people come in by SSH. start() binds its own listening sockets; the thread "lk-door" accepts, and
// each connection has a thread "lk-door-N" of its own that runs login and commands in linear style
// (libssh.md). It blocks on the socket, the ledger, the signer and the hub, each wait with a deadline. All
// that Parts names outlives it; stop() ends every connection and joins every thread.

#include <atomic>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "broker/desk/console.h"
#include "broker/door/admission.h"
#include "broker/door/conversation.h"
#include "broker/door/host_key.h"
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
    struct Guest {
        std::thread thread;
        std::atomic<bool> is_done = false;
    };
    Door(Parts parts, Settings settings);
    Status bind();
    void accept_loop();
    void accept_one(int listener);
    void serve(UniqueFd socket, const std::string& from, Admission::Ticket ticket);
    void reap();
    void log(LogLevel level, std::string_view line) const;

    const Parts parts_;
    const Settings settings_;
    HostKey host_key_;
    Admission admission_;
    struct {
        metrics::Counter connections;
    } counts_;
    UniqueFd stop_; // eventfd, readable once stop() was called; every wait polls it
    std::vector<UniqueFd> listeners_;
    std::thread acceptor_;
    std::list<Guest> guests_; // the acceptor's alone while it runs
    std::uint64_t next_guest_ = 1;
};

} // namespace latchkey::door
