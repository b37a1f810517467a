// SPDX-License-Identifier: Apache-2.0
#pragma once
// The endpoint that Prometheus reads: HTTP/1.1, GET /metrics and nothing else, one request a connection. Its
// thread "lk-metrics" owns all sockets; render is called there. A request is 4 KiB at most, a connection
// lasts as long as the deadline, whatever it does or does not read; more than `connections` are closed at
// once. Nobody is asked who they are: who may reach the address is the configuration's business. kConfig for
// an address that does not parse, kIo where it cannot be bound.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "core/base/clock.h"
#include "core/base/result.h"

namespace latchkey::metrics {

class Server {
public:
    struct Settings {
        std::string listen = "127.0.0.1:9464"; // address:port, "[v6]:port"; port 0: any
        std::size_t connections = 16;
        Micros deadline = from_seconds(5);
    };
    using Render = std::function<std::string()>;

    static Result<std::unique_ptr<Server>> start(Render render, Settings settings);
    ~Server(); // ends the thread and every connection

    std::uint16_t port() const;

private:
    struct State;
    explicit Server(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

} // namespace latchkey::metrics
