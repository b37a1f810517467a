// SPDX-License-Identifier: Apache-2.0
#pragma once
// org.latchkey.Agent1 on the system bus: one connection, the object on it, and its name. The adapter to
// sdbus-c++ for the service, as sessions/logind.cc is for its client: nothing thrown gets out. Belongs to one
// thread, which may block here for kBusPatience in a call. docs/dbus.md describes what callers see.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/base/clock.h"
#include "core/base/names.h"
#include "core/base/result.h"
#include "core/protocol/local.h"

namespace latchkey::agent::bus {

inline constexpr const char* kBusName = "org.latchkey.Agent1";
inline constexpr const char* kBusPath = "/org/latchkey/Agent1";
inline constexpr const char* kBusInterface = "org.latchkey.Agent1";
inline constexpr Micros kBusPatience = from_seconds(5);

// "org.latchkey.Error.TimedOut": the name of the code, without what a name on the bus may not hold.
std::string error_name(Code code);

// What everybody may read.
struct View {
    bool is_connected = false;
    Epoch epoch;
    Micros last_heartbeat; // broker time; 0: none yet
    Micros clock_offset;   // broker time minus ours
    // Whether nothing has changed that listeners are told; the rest is for who asks.
    bool tells_the_same_as(const View& other) const {
        return is_connected == other.is_connected && epoch == other.epoch;
    }
};

// One revocation that has taken effect here. Names nobody: every local user may hear it.
struct Revoked {
    Epoch epoch;
    std::string kind;
    std::uint32_t sessions_ended = 0;
};

// What callers are answered; called on the object's thread, from within process().
struct Answers {
    std::function<Status(uid_t caller)> check; // of a call that is not for everybody
    std::function<Result<std::vector<protocol::LiveSession>>()> list_sessions;
    std::function<Status()> resync;
    std::function<Result<std::vector<std::string>>(const Login&, const Fingerprint&)> explain;
};

struct PollWish {
    int fd = -1;
    int event_fd = -1; // -1: none
    short events = 0;
    int timeout_millis = -1;
};

class BusObject {
public:
    // kNotFound: there is no bus here. kExists: another process has the name. kRefused: the bus forbids it.
    static Result<std::unique_ptr<BusObject>> open(Answers answers, const View& view);
    ~BusObject();

    // Handles one message; false: none was waiting. A failure: the connection is over.
    Result<bool> process();
    Result<PollWish> poll_wish();

    Status show(const View& view); // tells PropertiesChanged where something did that is told
    Status tell(const Revoked& revoked);
    Status tell_trust_changed();

private:
    struct State;
    explicit BusObject(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

} // namespace latchkey::agent::bus
