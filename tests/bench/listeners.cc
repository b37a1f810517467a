// SPDX-License-Identifier: Apache-2.0
// Agents that only listen, so that the time until the last of many is told is the sender's alone and not that
// of 10,000 agents on one machine: listeners FOLDER FIRST COUNT [BROKER FINGERPRINT] They have the keys of
// the state folders FOLDER/N (seed_fleet.cc). With BROKER they go there, to bare_hub.cc, and say nothing;
// else to the broker that the folder names, with Hello.
//
// Prints "ready" once all are connected. Then for each line on stdin: waits until each of them has heard one
// more Revoke, and prints as JSON when the median and the last one did, in seconds since 1970. Ends with its
// stdin.

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include "agent/trust/state_folder.h"
#include "tests/bench/hub_client.h"
#include "tests/bench/timing.h"

namespace latchkey::bench {
namespace {

constexpr Micros kBeatEvery = from_seconds(60); // a hub whose heartbeat it is waits four times as long

struct Listener {
    HubClient client;
    unsigned heard = 0; // Revokes
};

class Listeners {
public:
    Listeners() : poll_(::epoll_create1(EPOLL_CLOEXEC)) {}

    Status add(const std::filesystem::path& folder, const char* broker, const char* fingerprint) {
        const agent::StateFolder state(folder);
        LK_TRY(identity, state.load_identity());
        LK_TRY(pin, state.load_pin());
        if (broker != nullptr) {
            LK_TRY(address, protocol::BrokerAddress::parse(broker));
            LK_TRY(key, Fingerprint::parse(fingerprint));
            pin.broker = address;
            pin.broker_key = key;
        }
        LK_TRY(client, HubClient::connect(std::move(identity), pin.broker, pin.broker_key));
        beats_ = broker == nullptr;
        if (beats_) LK_CHECK(client.come_back());
        client.listen();
        epoll_event event{.events = EPOLLIN, .data = {.u64 = all_.size()}};
        ::epoll_ctl(poll_.get(), EPOLL_CTL_ADD, client.socket(), &event);
        all_.push_back({std::move(client)});
        return {};
    }

    // Once in a while, and never while a round is measured: thousands of heartbeats at one moment would be
    // what the hub is at when it is to tell.
    Status beat_when_due() {
        if (!beats_ || clock_.monotonic() < next_beat_) return {};
        next_beat_ = clock_.monotonic() + kBeatEvery;
        for (Listener& one : all_) LK_CHECK(one.client.beat());
        return {};
    }

    // Until each has heard one more; when, one entry each.
    Result<std::vector<double>> hear_one() {
        ++round_;
        std::vector<double> at;
        std::array<epoll_event, 256> events;
        while (at.size() < all_.size()) {
            const int count =
                ::epoll_wait(poll_.get(), events.data(), static_cast<int>(events.size()), 60'000);
            if (count == 0) return fail(Code::kTimedOut, std::to_string(at.size()) + " have heard");
            for (int i = 0; i < count; ++i) {
                Listener& one = all_[events[static_cast<std::size_t>(i)].data.u64];
                LK_CHECK(one.client.take_waiting([&](const protocol::Frame& frame) {
                    if (frame.type == protocol::Type::kRevoke && ++one.heard == round_)
                        at.push_back(static_cast<double>(clock_.now().value) / 1e6);
                }));
            }
        }
        return at;
    }

private:
    SystemClock clock_;
    UniqueFd poll_;
    std::vector<Listener> all_;
    unsigned round_ = 0;
    bool beats_ = false; // at a real hub, which drops who is silent
    Micros next_beat_ = clock_.monotonic() + kBeatEvery;
};

Status run(int argc, char** words) {
    const int first = std::atoi(words[2]);
    const int count = std::atoi(words[3]);
    Listeners listeners;
    for (int number = first; number < first + count; ++number) {
        const auto folder = std::filesystem::path(words[1]) / std::to_string(number);
        LK_CHECK(listeners.add(folder, argc > 5 ? words[4] : nullptr, argc > 5 ? words[5] : nullptr));
    }
    std::puts("ready");
    std::fflush(stdout);
    std::string line;
    while (std::getline(std::cin, line)) {
        LK_TRY(at, listeners.hear_one());
        std::printf("{\"median\": %.6f, \"last\": %.6f}\n", median(at),
                    *std::max_element(at.begin(), at.end()));
        std::fflush(stdout);
        LK_CHECK(listeners.beat_when_due());
    }
    return {};
}

} // namespace
} // namespace latchkey::bench

int main(int argc, char** argv) {
    if (argc != 4 && argc != 6) {
        std::fprintf(stderr, "usage: listeners FOLDER FIRST COUNT [BROKER FINGERPRINT]\n");
        return 2;
    }
    const auto done = latchkey::bench::run(argc, argv);
    if (done) return 0;
    std::fprintf(stderr, "listeners: %s\n", done.error().line().c_str());
    return 1;
}
