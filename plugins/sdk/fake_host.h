// SPDX-License-Identifier: Apache-2.0
#pragma once
// A host for a plugin's unit tests: settings from a map, a clock moved by hand, log lines kept. It must
// outlive what was opened with it. One thread.

#include <initializer_list>
#include <iterator>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/base/clock.h"
#include "plugins/sdk/host.h"

namespace latchkey::sdk {

class FakeHost {
public:
    using Settings = std::map<std::string, std::string>;

    FakeHost() : FakeHost(Settings{}) {}
    FakeHost(std::initializer_list<Settings::value_type> settings) : FakeHost(Settings(settings)) {}
    explicit FakeHost(Settings settings) : settings_(std::move(settings)) {
        table_ = {.size = sizeof(lk_host),
                  .abi_major = LK_ABI_MAJOR,
                  .abi_minor = LK_ABI_MINOR,
                  .context = this,
                  .log = [](void* self, std::uint32_t, const char* line) { from(self).log_.push_back(line); },
                  .now = [](void* self) { return from(self).clock.now().value; },
                  .monotonic = [](void* self) { return from(self).clock.monotonic().value; },
                  .setting = setting,
                  .setting_name = setting_name};
    }
    FakeHost(const FakeHost&) = delete;
    FakeHost& operator=(const FakeHost&) = delete;

    const lk_host* table() const { return &table_; }
    Host host() const { return Host(&table_); }
    const std::vector<std::string>& log() const { return log_; }

    FakeClock clock{from_seconds(1'700'000'000)};

private:
    static FakeHost& from(void* self) { return *static_cast<FakeHost*>(self); }
    static const char* setting(void* self, const char* key) {
        const auto found = from(self).settings_.find(key);
        return found == from(self).settings_.end() ? nullptr : found->second.c_str();
    }
    static const char* setting_name(void* self, std::size_t index) {
        const auto& all = from(self).settings_;
        if (index >= all.size()) return nullptr;
        return std::next(all.begin(), static_cast<std::ptrdiff_t>(index))->first.c_str();
    }

    Settings settings_;
    std::vector<std::string> log_;
    lk_host table_{};
};

} // namespace latchkey::sdk
