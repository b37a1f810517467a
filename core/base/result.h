// SPDX-License-Identifier: Apache-2.0
#pragma once
// Result<T>: a value or an Error, spelled like std::expected (which g++ 12 has only in C++23 and clang 14 not
// at all). [[nodiscard]] on the class: dropping one does not compile under -Werror. Status is Result<void>.
// Reading the value of a failed Result is a fault of ours, never of input: check first.

#include <cassert>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "core/base/error.h"

namespace latchkey {

// What a function returns to fail: `return fail(Code::kExpired, "certificate 12 ended at …", "run: … cert");`
struct Failure {
    Error error;
};

[[nodiscard]] inline Failure fail(Code code, std::string message, std::string next = {}) {
    return Failure{Error{code, std::move(message), std::move(next)}};
}
[[nodiscard]] inline Failure fail(Error error) {
    return Failure{std::move(error)};
}

template <class T>
class [[nodiscard]] Result {
public:
    using value_type = T;

    Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
    Result(Failure failure) : state_(std::in_place_index<1>, std::move(failure.error)) {}

    bool has_value() const { return state_.index() == 0; }
    explicit operator bool() const { return has_value(); }

    T& value() & { return get(); }
    const T& value() const& { return get(); }
    T&& value() && { return std::move(get()); }
    T& operator*() & { return get(); }
    const T& operator*() const& { return get(); }
    T&& operator*() && { return std::move(get()); }
    T* operator->() { return &get(); }
    const T* operator->() const { return &get(); }
    T value_or(T other) && { return has_value() ? std::move(get()) : std::move(other); }

    const Error& error() const& {
        assert(!has_value());
        return *std::get_if<1>(&state_);
    }
    Error&& error() && {
        assert(!has_value());
        return std::move(*std::get_if<1>(&state_));
    }

private:
    T& get() {
        assert(has_value());
        return *std::get_if<0>(&state_);
    }
    const T& get() const {
        assert(has_value());
        return *std::get_if<0>(&state_);
    }

    std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
public:
    using value_type = void;

    Result() = default;
    Result(Failure failure) : error_(std::move(failure.error)) {}

    bool has_value() const { return !error_.has_value(); }
    explicit operator bool() const { return has_value(); }

    const Error& error() const& {
        assert(!has_value());
        return *error_;
    }
    Error&& error() && {
        assert(!has_value());
        return std::move(*error_);
    }

private:
    std::optional<Error> error_;
};

using Status = Result<void>;

} // namespace latchkey

// LK_TRY(name, expression): binds the value to `name`, or returns the failure from the enclosing function.
#define LK_CONCAT_INNER(a, b) a##b
#define LK_CONCAT(a, b) LK_CONCAT_INNER(a, b)
#define LK_TRY_INNER(temporary, name, expression)                          \
    auto temporary = (expression);                                         \
    if (!temporary) return ::latchkey::fail(std::move(temporary).error()); \
    auto name = std::move(*temporary)
#define LK_TRY(name, expression) LK_TRY_INNER(LK_CONCAT(lk_result_, __LINE__), name, expression)

// LK_CHECK(expression): returns the failure of a Status, or goes on.
#define LK_CHECK(expression)                                       \
    do {                                                           \
        if (auto lk_status = (expression); !lk_status)             \
            return ::latchkey::fail(std::move(lk_status).error()); \
    } while (false)
