// SPDX-License-Identifier: Apache-2.0
#pragma once
// Keeps org.latchkey.Agent1 on the system bus from a thread of its own, lk-bus, so that a slow bus or caller
// never holds up a login. The loop publishes what everybody may read; what callers ask is posted to the loop
// and given up after kAnswerTime. Without a bus, or when it goes away, the agent goes on: that is said once,
// and tried again with back-off. All public members: the loop's thread.

#include <functional>
#include <memory>
#include <thread>

#include "agent/bus/bus_object.h"

namespace latchkey::agent::bus {

inline constexpr const char* kBusGroup = "latchkey-admin"; // may call what root may
inline constexpr Micros kAnswerTime = from_seconds(2);
inline constexpr Micros kFirstPause = from_millis(250);
inline constexpr Micros kLongestPause = from_seconds(30);
inline constexpr std::size_t kMaxNews = 256; // signals that wait for a slow bus; the oldest give way

// What the agent answers; called on the loop's thread.
class BusDesk {
public:
    virtual ~BusDesk() = default;
    virtual std::vector<protocol::LiveSession> sessions() = 0;
    virtual Status resync() = 0;
    virtual std::vector<std::string> explain(const Login& login, const Fingerprint& key) = 0;
    // Empty: the service is on the bus, or this machine has none.
    virtual void note_bus_trouble(const std::string& line) = 0;
};

class BusService {
public:
    // Runs a job on the loop's thread; callable from any thread.
    using Post = std::function<void(std::function<void()>)>;

    // The desk outlives stop(). `group`: see kBusGroup.
    BusService(BusDesk& desk, Post post, std::string group = kBusGroup);
    ~BusService();

    void start();
    void stop(); // from then on the desk is not called
    void look(); // at each beat: for a bus, where there was none
    void publish(const View& view);
    void tell(Revoked revoked);
    void tell_trust_changed();

private:
    struct State;
    std::shared_ptr<State> state_;
    std::thread thread_;
};

} // namespace latchkey::agent::bus
