// SPDX-License-Identifier: Apache-2.0
#include <optional>
#include <utility>

#include "broker/plugin_host/adapters.h"

namespace latchkey::plugin_host {
namespace {

lk_value lend_value(const Value& value) {
    lk_value lent{LK_NULL, 0, {nullptr, 0}};
    if (const auto* integer = std::get_if<std::int64_t>(&value)) {
        lent.type = LK_INTEGER;
        lent.integer = *integer;
    } else if (const auto* text = std::get_if<std::string>(&value)) {
        lent.type = LK_TEXT;
        lent.bytes = lend(*text);
    } else if (const auto* blob = std::get_if<Bytes>(&value)) {
        lent.type = LK_BLOB;
        lent.bytes = lend(ByteView(*blob));
    }
    return lent;
}

std::optional<Value> take_value(const lk_value& lent) {
    switch (lent.type) {
        case LK_NULL:
            return Null{};
        case LK_INTEGER:
            return lent.integer;
        case LK_TEXT:
            return std::string(as_text(view(lent.bytes)));
        case LK_BLOB:
            return to_bytes(view(lent.bytes));
        default:
            return std::nullopt;
    }
}

// The plugin calls it: nothing may be thrown back into it.
std::int32_t take_row(void* context, const lk_value* values, std::size_t count) noexcept try {
    std::vector<Value> row;
    row.reserve(count);
    for (const lk_value& lent : std::span(values, count)) {
        auto value = take_value(lent);
        if (!value) return LK_ERROR_MALFORMED;
        row.push_back(*std::move(value));
    }
    static_cast<Rows*>(context)->rows.push_back(std::move(row));
    return LK_OK;
} catch (...) {
    return LK_ERROR_TOO_LARGE;
}

std::int32_t take_notification(void* context, const lk_value* values, std::size_t count) noexcept try {
    if (count != 2 || values[0].type != LK_TEXT || values[1].type != LK_TEXT) return LK_ERROR_MALFORMED;
    static_cast<std::vector<Notification>*>(context)->push_back(
        {std::string(as_text(view(values[0].bytes))), std::string(as_text(view(values[1].bytes)))});
    return LK_OK;
} catch (...) {
    return LK_ERROR_TOO_LARGE;
}

class StoreConnection : public Connection {
public:
    StoreConnection(std::shared_ptr<Instance> instance, const lk_store& functions, lk_connection* raw)
        : instance_(std::move(instance)), functions_(functions), raw_(raw) {}

    ~StoreConnection() override {
        const Status done = instance_->guarded([&](lk_error*) {
            functions_.disconnect(raw_);
            return LK_OK;
        });
        (void)done; // nobody is left to be told
    }

    Result<Rows> run(std::string_view sql, std::span<const Value> parameters) override {
        lent_.clear();
        for (const Value& parameter : parameters) lent_.push_back(lend_value(parameter));
        Rows rows;
        const lk_row_sink sink{&rows, take_row};
        LK_CHECK(instance_->guarded([&](lk_error* error) {
            return functions_.run(raw_, lend(sql), lent_.data(), lent_.size(), &sink, &rows.changed, error);
        }));
        return rows;
    }

    Status post(std::string_view sql, std::span<const Value> parameters) override {
        if (functions_.post == nullptr) return Connection::post(sql, parameters);
        if (level_ == Level::kNone) return misuse("post without a transaction");
        lent_.clear();
        for (const Value& parameter : parameters) lent_.push_back(lend_value(parameter));
        return instance_->guarded([&](lk_error* error) {
            return functions_.post(raw_, lend(sql), lent_.data(), lent_.size(), error);
        });
    }

    Status run_script(std::string_view sql) override {
        return instance_->guarded(
            [&](lk_error* error) { return functions_.run_script(raw_, lend(sql), error); });
    }

    Status begin(bool for_writing) override {
        if (level_ != Level::kNone) return misuse("begin inside a transaction");
        LK_CHECK(instance_->guarded(
            [&](lk_error* error) { return functions_.begin(raw_, for_writing ? 1 : 0, error); }));
        level_ = Level::kTransaction;
        return {};
    }

    Status commit() override {
        Status done = level_ == Level::kTransaction
                          ? step(functions_.commit)
                          : misuse("commit without a transaction, or inside a savepoint");
        if (done) {
            level_ = Level::kNone;
        } else {
            LK_CHECK(rollback());
        }
        return done;
    }

    Status rollback() override {
        if (level_ == Level::kNone) return {};
        level_ = Level::kNone;
        return step(functions_.rollback);
    }

    Status savepoint() override {
        if (level_ != Level::kTransaction)
            return misuse("savepoint without a transaction, or inside another");
        LK_CHECK(step(functions_.savepoint));
        level_ = Level::kSavepoint;
        return {};
    }

    Status release_savepoint() override {
        if (level_ == Level::kNone) return misuse("release without a transaction");
        if (level_ == Level::kTransaction) return {}; // rollback_to has ended it
        LK_CHECK(step(functions_.release_savepoint));
        level_ = Level::kTransaction;
        return {};
    }

    Status rollback_to_savepoint() override {
        if (level_ != Level::kSavepoint) return misuse("rollback to no savepoint");
        LK_CHECK(step(functions_.rollback_to_savepoint));
        level_ = Level::kTransaction;
        return {};
    }

    Status listen(std::string_view channel) override {
        if (functions_.listen == nullptr) return Connection::listen(channel);
        return instance_->guarded(
            [&](lk_error* error) { return functions_.listen(raw_, lend(channel), error); });
    }

    Status notify(std::string_view channel, std::string_view payload) override {
        if (functions_.notify == nullptr) return Connection::notify(channel, payload);
        if (level_ == Level::kNone) return misuse("notify without a transaction");
        return instance_->guarded(
            [&](lk_error* error) { return functions_.notify(raw_, lend(channel), lend(payload), error); });
    }

    Result<std::vector<Notification>> wait(std::chrono::milliseconds timeout) override {
        if (functions_.wait == nullptr) return Connection::wait(timeout);
        if (level_ != Level::kNone) return misuse("wait inside a transaction");
        std::vector<Notification> heard;
        const lk_row_sink sink{&heard, take_notification};
        LK_CHECK(instance_->guarded([&](lk_error* error) {
            return functions_.wait(raw_, static_cast<std::int32_t>(timeout.count()), &sink, error);
        }));
        return heard;
    }

private:
    enum class Level : std::uint8_t { kNone = 1, kTransaction, kSavepoint };

    Status step(std::int32_t (*call)(lk_connection*, lk_error*)) const {
        return instance_->guarded([&](lk_error* error) { return call(raw_, error); });
    }
    static Failure misuse(const char* what) { return fail(Code::kUsage, std::string("store: ") + what); }

    std::shared_ptr<Instance> instance_;
    const lk_store functions_;
    lk_connection* raw_;
    Level level_ = Level::kNone;
    std::vector<lk_value> lent_; // kept for its memory
};

class PluginStore : public Store {
public:
    PluginStore(std::shared_ptr<Instance> instance, const lk_store& functions, std::string dialect)
        : instance_(std::move(instance)), functions_(functions), dialect_(std::move(dialect)) {}

    Result<std::unique_ptr<Connection>> connect() override {
        lk_connection* raw = nullptr;
        LK_CHECK(instance_->guarded(
            [&](lk_error* error) { return functions_.connect(instance_->raw(), &raw, error); }));
        if (raw == nullptr)
            return fail(Code::kInternal, "plugin " + instance_->name() + " connected nothing");
        return std::unique_ptr<Connection>(std::make_unique<StoreConnection>(instance_, functions_, raw));
    }

    std::string_view dialect() const override { return dialect_; }
    bool listens() const override { return functions_.listen != nullptr; }

private:
    std::shared_ptr<Instance> instance_;
    const lk_store functions_;
    const std::string dialect_;
};

bool has_all(const lk_store& f) {
    return f.dialect && f.connect && f.disconnect && f.run && f.run_script && f.begin && f.commit &&
           f.rollback && f.savepoint && f.release_savepoint && f.rollback_to_savepoint &&
           (f.listen != nullptr) == (f.notify != nullptr) && (f.listen != nullptr) == (f.wait != nullptr);
}

} // namespace

Result<std::unique_ptr<Store>> adapt_store(std::shared_ptr<Instance> instance) {
    const auto functions = functions_of<lk_store>(instance->module());
    LK_CHECK(check_complete(instance->module(), has_all(functions)));
    const char* dialect = nullptr;
    LK_CHECK(instance->guarded([&](lk_error*) {
        dialect = functions.dialect(instance->raw());
        return dialect == nullptr ? LK_ERROR_INTERNAL : LK_OK;
    }));
    return std::unique_ptr<Store>(std::make_unique<PluginStore>(std::move(instance), functions, dialect));
}

} // namespace latchkey::plugin_host
