// SPDX-License-Identifier: Apache-2.0
#pragma once
// The agent's Unix socket: one request, one answer a connection, 2 s in all (more for a StepUpCode),
// kMaxConnections at once. Who is at the other end the kernel says (SO_PEERCRED): anybody but root and the
// helper's user is refused before a byte of theirs is read, and holds no place. What those two may ask, the
// handler judges. On the thread that runs the io_context, which outlives it, as does what the handler points
// to.

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>

#include "agent/gate/front.h"

namespace boost::asio {
class io_context;
}

namespace latchkey::agent {

inline constexpr std::size_t kMaxConnections = 512;
inline constexpr Micros kLocalTime = from_seconds(2);

class LocalServer {
public:
    using Handler = std::function<void(const Peer&, const protocol::Frame&, const Front::Reply&)>;

    LocalServer(boost::asio::io_context& io, Handler handler);
    ~LocalServer();

    // Whom the helper runs as.
    struct HelperUser {
        uid_t uid = 0;
        gid_t gid = 0;
    };
    // Takes the place of a socket that a dead agent left; kConflict where a live one answers. Folder 0755,
    // socket 0660 of root and the helper's group; 0666 where it may not be given to that group.
    Status listen(const std::string& path, HelperUser helper);
    void stop();

private:
    struct State;
    std::shared_ptr<State> state_;
};

} // namespace latchkey::agent
