// SPDX-License-Identifier: Apache-2.0
#pragma once
// A store over another one that counts what its connections are asked, and tells of each commit. For tests.

#include <atomic>
#include <functional>
#include <memory>

#include "broker/plugin_host/store.h"

namespace latchkey::ledger {

struct Counted {
    std::atomic<int> runs{0}; // waited for
    std::atomic<int> posts{0};
    std::function<void()> on_commit = [] {}; // on the writer's thread, before it
};

class CountingConnection : public plugin_host::Connection {
public:
    CountingConnection(std::unique_ptr<plugin_host::Connection> real, Counted& counted)
        : real_(std::move(real)), counted_(counted) {}

    Result<plugin_host::Rows> run(std::string_view sql, std::span<const plugin_host::Value> values) override {
        ++counted_.runs;
        return real_->run(sql, values);
    }
    Status post(std::string_view sql, std::span<const plugin_host::Value> values) override {
        ++counted_.posts;
        return real_->post(sql, values);
    }
    Status run_script(std::string_view sql) override { return real_->run_script(sql); }
    Status begin(bool for_writing) override { return real_->begin(for_writing); }
    Status commit() override {
        counted_.on_commit();
        return real_->commit();
    }
    Status rollback() override { return real_->rollback(); }
    Status savepoint() override { return real_->savepoint(); }
    Status release_savepoint() override { return real_->release_savepoint(); }
    Status rollback_to_savepoint() override { return real_->rollback_to_savepoint(); }

private:
    std::unique_ptr<plugin_host::Connection> real_;
    Counted& counted_;
};

class CountingStore : public plugin_host::Store {
public:
    CountingStore(plugin_host::Store& real, Counted& counted) : real_(real), counted_(counted) {}
    Result<std::unique_ptr<plugin_host::Connection>> connect() override {
        LK_TRY(made, real_.connect());
        return std::unique_ptr<plugin_host::Connection>(
            std::make_unique<CountingConnection>(std::move(made), counted_));
    }
    std::string_view dialect() const override { return real_.dialect(); }

private:
    plugin_host::Store& real_;
    Counted& counted_;
};

} // namespace latchkey::ledger
