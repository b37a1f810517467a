// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/ear.h"

#include <pthread.h>
#include <spdlog/spdlog.h>

#include "broker/ledger/tamper_log.h"
#include "broker/ledger/watched_connection.h"

namespace latchkey::ledger {
namespace {

constexpr std::chrono::milliseconds kSlice{500}; // how long a stop may wait
constexpr std::chrono::seconds kLookEvery{3};

} // namespace

Ear::~Ear() {
    {
        const std::lock_guard lock(mutex_);
        is_stopping_ = true;
    }
    stop_.notify_all();
    thread_.join();
}

bool Ear::is_stopping() {
    const std::lock_guard lock(mutex_);
    return is_stopping_;
}

void Ear::loop() {
    pthread_setname_np(pthread_self(), "lk-ledger-ear");
    while (!is_stopping()) {
        const Status heard = hear();
        if (heard) continue;
        if (connection_) spdlog::warn("lost word of other brokers error=\"{}\"", heard.error().line());
        connection_.reset();
        std::unique_lock lock(mutex_);
        stop_.wait_for(lock, kSlice, [&] { return is_stopping_; });
    }
}

// Until something is heard or it is time to look; then the look.
Status Ear::hear() {
    if (!connection_) {
        LK_TRY(fresh, parts_.connector.connect());
        LK_CHECK(fresh->listen(kChannel)); // before the look: what comes after it is heard
        connection_ = std::move(fresh);
        return look();
    }
    const auto since = std::chrono::steady_clock::now();
    while (std::chrono::steady_clock::now() - since < kLookEvery && !is_stopping()) {
        LK_TRY(heard, connection_->wait(kSlice));
        if (!heard.empty()) break;
    }
    return is_stopping() ? Status() : look();
}

Status Ear::look() {
    Scratch scratch;
    WatchedConnection watched(*connection_);
    Transaction t(watched, parts_.sealer, parts_.clock.now(), scratch, parts_.tampered);
    LK_CHECK(connection_->begin(false));
    const auto counts = Listeners::read_counts(t);
    LK_CHECK(connection_->rollback());
    if (!counts) return fail(counts.error());
    parts_.listeners.tell(*counts);
    return {};
}

} // namespace latchkey::ledger
