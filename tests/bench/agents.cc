// SPDX-License-Identifier: Apache-2.0
// Many whole agents in one process: agents FOLDER FIRST COUNT
// Each is agent/run's Agent on its own state folder FOLDER/N (seed_fleet.cc makes them): TLS, revocations on
// disk, receipts, local socket. Of the real program they lack what would end a login here: there are no
// sessions to find, and none is ended. They share one loop and one pool, where a program has a thread and a
// pool of its own.
//
// stdin: "wait N" a line. Answered, once agents have begun to serve N times in all since the start, with the
// time (seconds since 1970) at which the last of them did. Ends with its stdin.

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "agent/log/log.h"
#include "agent/loop/pool.h"
#include "agent/run/agent.h"
#include "agent/sessions/sessions.h"

namespace latchkey::bench {
namespace {

constexpr unsigned kPoolThreads = 4;
constexpr unsigned kStarting = 32; // agents that have begun and do not serve yet
// Thousands of VMs share the processors here: by an agent's own 10 s all attempts of a fleet can run out
// together, each behind the first steps of all others, and so for ever.
constexpr Micros kConnectTime = from_seconds(120);

class NothingToEnd : public agent::SessionEnder {
public:
    agent::EndResult end(const agent::BoundSession& /*session*/,
                         const posix::Deadline& /*deadline*/) override {
        return agent::EndResult::kGone;
    }
};

// How often an agent has begun to serve, and when last: by the line that it logs.
class Served {
public:
    void add() {
        const std::lock_guard lock(mutex_);
        ++count_;
        last_ = clock_.now();
        changed_.notify_all();
    }
    Micros wait_for(std::size_t count) {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return count_ >= count; });
        return last_;
    }

private:
    SystemClock clock_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::size_t count_ = 0;
    Micros last_;
};

class Fleet {
public:
    ~Fleet() {
        io_.stop();
        if (thread_.joinable()) thread_.join();
        pool_.stop();
    }

    Status start(const std::filesystem::path& folder, unsigned first, unsigned count, Served& served) {
        for (unsigned number = first; number < first + count; ++number) {
            agent::AgentConfig config;
            config.state_dir = folder / std::to_string(number);
            config.socket = (config.state_dir / "sock").string();
            config.helper_user = "root";
            config.dbus = agent::BusUse::kOff;
            LK_TRY(one, agent::Agent::make(io_, clock_, config, std::make_unique<NothingToEnd>(), &pool_,
                                           kConnectTime));
            agents_.push_back(std::move(one));
        }
        thread_ = std::thread([this] { io_.run(); });
        // Not all at once: VMs have a processor each, and here their handshakes would outlast an agent's
        // patience.
        for (unsigned begun = 0; begun < count; ++begun) {
            if (begun >= kStarting) served.wait_for(begun - kStarting);
            boost::asio::post(io_, [&one = *agents_[begun]] {
                const Status started = one.start();
                if (!started) std::fprintf(stderr, "agents: %s\n", started.error().line().c_str());
            });
        }
        return {};
    }

private:
    SystemClock clock_;
    boost::asio::io_context io_{1};
    boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_{io_.get_executor()};
    agent::Pool pool_{kPoolThreads};
    std::vector<std::unique_ptr<agent::Agent>> agents_;
    std::thread thread_;
};

int run(char** words) {
    Served served;
    agent::hand_log_to([&served](agent::LogLevel level, const std::string& line) {
        if (line.starts_with("serve ")) served.add();
        if (level == agent::LogLevel::kError) std::fprintf(stderr, "agents: %s\n", line.c_str());
    });
    Fleet fleet;
    const Status started = fleet.start(words[1], static_cast<unsigned>(std::atoi(words[2])),
                                       static_cast<unsigned>(std::atoi(words[3])), served);
    if (!started) {
        std::fprintf(stderr, "agents: %s\n", started.error().line().c_str());
        return 1;
    }
    std::string word;
    std::size_t count = 0;
    while (std::cin >> word >> count) {
        std::printf("%.6f\n", static_cast<double>(served.wait_for(count).value) / 1e6);
        std::fflush(stdout);
    }
    return 0;
}

} // namespace
} // namespace latchkey::bench

int main(int argc, char** argv) {
    if (argc != 4) {
        std::fprintf(stderr, "usage: agents FOLDER FIRST COUNT\n");
        return 2;
    }
    return latchkey::bench::run(argv);
}
