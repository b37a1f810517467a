// SPDX-License-Identifier: Apache-2.0
#pragma once
// The running agent: owns every part and joins them, on one thread beside the pool. A damaged state file does
// not keep it from running: it then gates what it can still name and lets nobody in there.

#include <memory>

#include "agent/config/agent_config.h"
#include "agent/gate/agent_state.h"
#include "agent/hub_link/hub_link.h"
#include "agent/trust/state_folder.h"

namespace boost::asio {
class io_context;
} // namespace boost::asio

namespace latchkey::agent {

class Pool;
class SessionEnder;

class Agent {
public:
    // Clock and io_context outlive it. kNotFound: this VM has not joined. shared_pool:
    // agent/loop/asio_loop.h; connect_time: agent/hub_link/hub_link.h.
    static Result<std::unique_ptr<Agent>> make(boost::asio::io_context& io, const Clock& clock,
                                               const AgentConfig& config, std::unique_ptr<SessionEnder> ender,
                                               Pool* shared_pool = nullptr,
                                               Micros connect_time = kConnectTime);
    ~Agent();

    // Opens the local socket, then the connection to the broker; from then on the io_context serves.
    Status start();
    void stop();

private:
    struct Parts;
    explicit Agent(std::unique_ptr<Parts> parts);
    std::unique_ptr<Parts> parts_;
};

} // namespace latchkey::agent
