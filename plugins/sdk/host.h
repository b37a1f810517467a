// SPDX-License-Identifier: Apache-2.0
#pragma once
// The host's services as a plugin in C++ sees them. A Host is a light copyable view of the table given to
// open(); it is good until the instance ends. Any thread.

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/clock.h"
#include "core/base/result.h"
#include "plugins/sdk/latchkey_plugin.h"

namespace latchkey::sdk {

class Host {
public:
    explicit Host(const lk_host* host) : host_(host) {}

    void log(lk_log_level level, const std::string& line) const {
        host_->log(host_->context, level, line.c_str());
    }
    Micros now() const { return {host_->now(host_->context)}; }
    Micros monotonic() const { return {host_->monotonic(host_->context)}; }

    std::optional<std::string> setting(const char* key) const {
        const char* value = host_->setting(host_->context, key);
        if (value == nullptr) return std::nullopt;
        return std::string(value);
    }

    // kConfig where it is not set or empty.
    Result<std::string> required(const char* key) const {
        auto value = setting(key);
        if (!value || value->empty())
            return fail(Code::kConfig, std::string("the setting ") + key + " is missing");
        return *std::move(value);
    }

    // A decimal between least and most; kConfig otherwise. Not set: the default.
    Result<std::int64_t> number(const char* key, std::int64_t not_set, std::int64_t least,
                                std::int64_t most) const {
        const auto text = setting(key);
        if (!text) return not_set;
        const bool digits =
            !text->empty() && text->size() <= 15 &&
            std::all_of(text->begin(), text->end(), [](char c) { return c >= '0' && c <= '9'; });
        const std::int64_t value = digits ? std::stoll(*text) : -1;
        if (!digits || value < least || value > most) {
            return fail(Code::kConfig, std::string("the setting ") + key + " must be a whole number from " +
                                           std::to_string(least) + " to " + std::to_string(most));
        }
        return value;
    }

    // kConfig that names the first setting which is none of these: a misspelt one must not pass in silence.
    Status only(std::initializer_list<std::string_view> known) const {
        for (std::size_t i = 0;; ++i) {
            const char* name = host_->setting_name(host_->context, i);
            if (name == nullptr) return {};
            if (std::find(known.begin(), known.end(), std::string_view(name)) != known.end()) continue;
            std::string names;
            for (const std::string_view one : known) names.append(names.empty() ? "" : ", ").append(one);
            return fail(Code::kConfig, "there is no setting " + std::string(name),
                        names.empty() ? "this plugin has no settings" : "known settings: " + names);
        }
    }

private:
    const lk_host* host_;
};

} // namespace latchkey::sdk
