// SPDX-License-Identifier: Apache-2.0
#pragma once
// Derive from StorePlugin and StoreConnection to write an SQL driver; the contract of each call is in
// latchkey_plugin.h. A connection is one thread's at a time, connect() is any thread's.

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "plugins/sdk/boundary.h"

namespace latchkey::sdk {

class RowSink {
public:
    explicit RowSink(const lk_row_sink* sink) : sink_(sink) {}

    Status row(std::span<const lk_value> values) const {
        const std::int32_t status = sink_->row(sink_->context, values.data(), values.size());
        if (status == LK_OK) return {};
        return fail(code_of(status), "the host did not take a row");
    }

private:
    const lk_row_sink* sink_;
};

class StoreConnection {
public:
    virtual ~StoreConnection() = default;
    // Returns the number of rows that it changed.
    virtual Result<std::int64_t> run(std::string_view sql, std::span<const lk_value> parameters,
                                     const RowSink& rows) = 0;
    // Called only where the plugin's kPosts is true.
    virtual Status post(std::string_view, std::span<const lk_value>) {
        return fail(Code::kUnsupported, "this store posts nothing");
    }
    virtual Status run_script(std::string_view sql) = 0;
    virtual Status begin(bool for_writing) = 0;
    virtual Status commit() = 0;
    virtual Status rollback() = 0;
    virtual Status savepoint() = 0;
    virtual Status release_savepoint() = 0;
    virtual Status rollback_to_savepoint() = 0;
    // Called only where the plugin's kListens is true.
    virtual Status listen(std::string_view) { return not_here(); }
    virtual Status notify(std::string_view, std::string_view) { return not_here(); }
    virtual Status wait(int, const RowSink&) { return not_here(); }

private:
    static Status not_here() { return fail(Code::kUnsupported, "this store has no notifications"); }
};

class StorePlugin {
public:
    static constexpr bool kListens = false; // a derived class says true and overrides the three above
    static constexpr bool kPosts = false;   // and post()

    virtual ~StorePlugin() = default;
    virtual const char* dialect() const = 0; // a constant
    virtual Result<std::unique_ptr<StoreConnection>> connect() = 0;
};

namespace seam {

inline StoreConnection& connection_of(lk_connection* connection) {
    return *reinterpret_cast<StoreConnection*>(connection);
}

inline const char* store_dialect(lk_instance* store) noexcept {
    return plugin_of<StorePlugin>(store).dialect();
}

inline std::int32_t store_connect(lk_instance* store, lk_connection** connection, lk_error* error) noexcept {
    return guarded(error, [&]() -> Status {
        LK_TRY(made, plugin_of<StorePlugin>(store).connect());
        *connection = reinterpret_cast<lk_connection*>(made.release());
        return {};
    });
}

inline void store_disconnect(lk_connection* connection) noexcept {
    delete &connection_of(connection);
}

inline std::int32_t store_run(lk_connection* connection, lk_bytes sql, const lk_value* parameters,
                              std::size_t count, const lk_row_sink* rows, std::int64_t* changed,
                              lk_error* error) noexcept {
    return guarded(error, [&]() -> Status {
        LK_TRY(n, connection_of(connection).run(text(sql), {parameters, count}, RowSink(rows)));
        *changed = n;
        return {};
    });
}

inline std::int32_t store_post(lk_connection* connection, lk_bytes sql, const lk_value* parameters,
                               std::size_t count, lk_error* error) noexcept {
    return guarded(error, [&] { return connection_of(connection).post(text(sql), {parameters, count}); });
}

inline std::int32_t store_script(lk_connection* connection, lk_bytes sql, lk_error* error) noexcept {
    return guarded(error, [&] { return connection_of(connection).run_script(text(sql)); });
}

inline std::int32_t store_begin(lk_connection* connection, std::int32_t for_writing,
                                lk_error* error) noexcept {
    return guarded(error, [&] { return connection_of(connection).begin(for_writing != 0); });
}

// commit, rollback and the savepoint calls differ in the member alone.
template <Status (StoreConnection::*Step)()>
std::int32_t store_step(lk_connection* connection, lk_error* error) noexcept {
    return guarded(error, [&] { return (connection_of(connection).*Step)(); });
}

inline std::int32_t store_listen(lk_connection* connection, lk_bytes channel, lk_error* error) noexcept {
    return guarded(error, [&] { return connection_of(connection).listen(text(channel)); });
}

inline std::int32_t store_notify(lk_connection* connection, lk_bytes channel, lk_bytes payload,
                                 lk_error* error) noexcept {
    return guarded(error, [&] { return connection_of(connection).notify(text(channel), text(payload)); });
}

inline std::int32_t store_wait(lk_connection* connection, std::int32_t timeout_ms, const lk_row_sink* rows,
                               lk_error* error) noexcept {
    return guarded(error, [&] { return connection_of(connection).wait(timeout_ms, RowSink(rows)); });
}

template <class Plugin>
const lk_store* store_functions() {
    using C = StoreConnection;
    static const lk_store table = {
        .size = sizeof(lk_store),
        .dialect = store_dialect,
        .connect = store_connect,
        .disconnect = store_disconnect,
        .run = store_run,
        .run_script = store_script,
        .begin = store_begin,
        .commit = store_step<&C::commit>,
        .rollback = store_step<&C::rollback>,
        .savepoint = store_step<&C::savepoint>,
        .release_savepoint = store_step<&C::release_savepoint>,
        .rollback_to_savepoint = store_step<&C::rollback_to_savepoint>,
        .listen = Plugin::kListens ? store_listen : nullptr,
        .notify = Plugin::kListens ? store_notify : nullptr,
        .wait = Plugin::kListens ? store_wait : nullptr,
        .post = Plugin::kPosts ? store_post : nullptr,
    };
    return &table;
}

} // namespace seam
} // namespace latchkey::sdk
