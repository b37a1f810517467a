// SPDX-License-Identifier: Apache-2.0
#pragma once
// A real hub on a free port over the issuer's test ledger; its ticks are short, its time is the test's clock.

#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "broker/hub/agent_for_tests.h"
#include "broker/hub/hub.h"
#include "broker/issue/issuer_for_tests.h"

namespace latchkey::hub {

inline keys::PrivateKey new_private_key() {
    return ledger::take(keys::PrivateKey::generate(keys::KeyType::kEd25519));
}

// For what other threads do and nothing tells of: looks until it holds, 20 s at most.
template <class Condition>
bool eventually(Condition holds) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!holds()) {
        if (std::chrono::steady_clock::now() > end) return false;
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return true;
}

class HubTest : public issue::IssuerTest {
protected:
    HubTest() { start(); }
    ~HubTest() override { hub_.reset(); } // before what it borrows

    void start(Settings settings = {}) {
        hub_.reset();
        settings.heartbeat = from_millis(20);
        hub_ = begin(std::move(settings));
    }
    std::unique_ptr<Hub> begin(Settings settings) {
        settings.listen = "127.0.0.1:0";
        if (settings.handshakes_per_second == Settings().handshakes_per_second)
            settings.handshakes_per_second = 100'000; // the test's clock stands still
        return ledger::take(Hub::start({.ledger = *ledger_,
                                        .issuer = *issuer_,
                                        .identity = identity_,
                                        .ledger_keys = {ledger::ledger_key().public_key()},
                                        .clock = clock_,
                                        .log =
                                            [this](LogLevel, std::string_view line) {
                                                const std::lock_guard lock(log_mutex_);
                                                log_.emplace_back(line);
                                            },
                                        .factors = factors_},
                                       std::move(settings)));
    }
    bool has_logged(std::string_view part) {
        const std::lock_guard lock(log_mutex_);
        for (const std::string& line : log_) {
            if (line.find(part) != std::string::npos) return true;
        }
        return false;
    }

    struct Member {
        keys::PrivateKey key;
        ledger::Vm vm;
    };
    Member add_member(std::string_view name) {
        keys::PrivateKey key = new_private_key();
        ledger::Vm vm = add_vm(name, key.public_key().raw_ed25519());
        return {std::move(key), std::move(vm)};
    }
    TestAgent connect(const Member& member) { return TestAgent(hub_->port(), member.key); }

    unlock::Factors* factors_ = nullptr; // who sets it, ends the hub before it goes
    keys::PrivateKey identity_ = new_private_key();
    std::mutex log_mutex_;
    std::vector<std::string> log_;
    std::unique_ptr<Hub> hub_;
};

} // namespace latchkey::hub
