// SPDX-License-Identifier: Apache-2.0
#pragma once
// A plugin opened with its settings: owns the host services that it was given, closes it at the end. The
// adapters share it. guarded() is the host's side of the catch-all boundary: whatever a plugin returns or
// throws becomes a Status. Any thread.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "broker/plugin_host/loader.h"
#include "broker/plugin_host/module.h"
#include "core/base/clock.h"
#include "core/base/result.h"
#include "plugins/sdk/latchkey_plugin.h"

namespace latchkey::plugin_host {

class Instance {
public:
    static Result<std::shared_ptr<Instance>> open(Module module, Settings settings, LogSink log);
    ~Instance();
    Instance(const Instance&) = delete;
    Instance& operator=(const Instance&) = delete;

    const Module& module() const { return module_; }
    const std::string& name() const { return module_.name; }
    lk_instance* raw() const { return raw_; }

    // call(lk_error*) returns an lk_status.
    template <class Call>
    Status guarded(Call call) const;

private:
    Instance(Module module, Settings settings, LogSink log);
    Status failure(std::int32_t status, const lk_error& error) const;
    Status thrown(const char* what) const;

    Module module_;
    Settings settings_;
    LogSink log_;
    SystemClock clock_;
    lk_host host_{};
    lk_instance* raw_ = nullptr;
};

template <class Call>
Status Instance::guarded(Call call) const {
    lk_error error;
    error.size = sizeof error;
    error.message[0] = '\0';
    error.next[0] = '\0';
    try {
        const std::int32_t status = call(&error);
        if (status == LK_OK) return {};
        return failure(status, error);
    } catch (const std::exception& e) {
        return thrown(e.what());
    } catch (...) {
        return thrown("something that is no std::exception");
    }
}

inline lk_bytes lend(ByteView view) {
    return {view.data(), view.size()};
}
inline lk_bytes lend(std::string_view text) {
    return lend(as_bytes(text));
}
inline ByteView view(lk_bytes bytes) {
    return {bytes.data, bytes.size};
}

} // namespace latchkey::plugin_host
