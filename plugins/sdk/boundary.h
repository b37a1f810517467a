// SPDX-License-Identifier: Apache-2.0
#pragma once
// What stands at each C entry point of a plugin: every exception ends here, every failure becomes a code and
// a message. Also the small conversions between the C types and ours.

#include <algorithm>
#include <cstring>
#include <exception>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "core/base/bytes.h"
#include "core/base/result.h"
#include "plugins/sdk/codes.h"
#include "plugins/sdk/host.h"
#include "plugins/sdk/latchkey_plugin.h"

namespace latchkey::sdk {

inline lk_bytes lend(ByteView view) {
    return {view.data(), view.size()};
}
inline lk_bytes lend(std::string_view text) {
    return lend(as_bytes(text));
}
inline ByteView view(lk_bytes bytes) {
    return {bytes.data, bytes.size};
}
inline std::string_view text(lk_bytes bytes) {
    return as_text(view(bytes));
}

// Copies what fits and terminates; never cuts a UTF-8 sequence in two.
inline void put_text(std::span<char> target, std::string_view source) {
    std::size_t size = std::min(source.size(), target.size() - 1);
    if (size < source.size()) {
        while (size > 0 && (static_cast<unsigned char>(source[size]) & 0xC0) == 0x80) --size;
    }
    std::copy_n(source.begin(), size, target.begin());
    target[size] = '\0';
}

inline std::int32_t put_error(lk_error* error, const Error& from) {
    put_text(error->message, from.message);
    put_text(error->next, from.next);
    return status_of(from.code);
}

// work() returns a Status.
template <class Work>
std::int32_t guarded(lk_error* error, Work work) noexcept {
    try {
        const Status done = work();
        return done ? LK_OK : put_error(error, done.error());
    } catch (const std::exception& e) {
        put_text(error->message, "the plugin threw: ");
        const std::size_t used = std::strlen(error->message);
        put_text(std::span<char>(error->message).subspan(used), e.what());
    } catch (...) {
        put_text(error->message, "the plugin threw something that is no std::exception");
    }
    return LK_ERROR_INTERNAL;
}

// The host's sink with our types.
class Sink {
public:
    explicit Sink(const lk_sink* sink) : sink_(sink) {}

    Status put(lk_field field, ByteView value) const {
        const std::int32_t status = sink_->put(sink_->context, field, lend(value));
        if (status == LK_OK) return {};
        return fail(code_of(status), "the host did not take a result");
    }
    Status put(lk_field field, std::string_view value) const { return put(field, as_bytes(value)); }

private:
    const lk_sink* sink_;
};

// lk_instance is a Base in disguise.
template <class Base>
Base& plugin_of(lk_instance* instance) {
    return *reinterpret_cast<Base*>(instance);
}

template <class Plugin, class Base>
std::int32_t open_instance(const lk_host* host, lk_instance** instance, lk_error* error) noexcept {
    return guarded(error, [&]() -> Status {
        LK_TRY(plugin, Plugin::open(Host(host)));
        std::unique_ptr<Base> base = std::move(plugin);
        *instance = reinterpret_cast<lk_instance*>(base.release());
        return {};
    });
}

template <class Base>
void close_instance(lk_instance* instance) noexcept {
    delete reinterpret_cast<Base*>(instance);
}

} // namespace latchkey::sdk
