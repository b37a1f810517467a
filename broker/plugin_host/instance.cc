// SPDX-License-Identifier: Apache-2.0
#include "broker/plugin_host/instance.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <utility>

#include "plugins/sdk/codes.h"

namespace latchkey::plugin_host {
namespace {

// A plugin's text, which may not be terminated or may hold anything: one line without control characters.
std::string one_line(const char* text, std::size_t limit) {
    std::string line(text, ::strnlen(text, limit));
    std::replace_if(
        line.begin(), line.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; },
        ' ');
    return line;
}

} // namespace

Instance::Instance(Module module, Settings settings, LogSink log)
    : module_(std::move(module)), settings_(std::move(settings)), log_(std::move(log)) {
    host_.size = sizeof host_;
    host_.abi_major = LK_ABI_MAJOR;
    host_.abi_minor = LK_ABI_MINOR;
    host_.context = this;
    host_.log = [](void* self, std::uint32_t level, const char* line) {
        const auto& instance = *static_cast<Instance*>(self);
        const auto known = std::clamp<std::uint32_t>(level, LK_LOG_DEBUG, LK_LOG_ERROR);
        if (line == nullptr || !instance.log_) return;
        instance.log_(static_cast<LogLevel>(known), instance.name(), one_line(line, 4096));
    };
    host_.now = [](void* self) { return static_cast<Instance*>(self)->clock_.now().value; };
    host_.monotonic = [](void* self) { return static_cast<Instance*>(self)->clock_.monotonic().value; };
    host_.setting = [](void* self, const char* key) -> const char* {
        const Settings& all = static_cast<Instance*>(self)->settings_;
        const auto found = all.find(key);
        return found == all.end() ? nullptr : found->second.c_str();
    };
    host_.setting_name = [](void* self, std::size_t index) -> const char* {
        const Settings& all = static_cast<Instance*>(self)->settings_;
        if (index >= all.size()) return nullptr;
        return std::next(all.begin(), static_cast<std::ptrdiff_t>(index))->first.c_str();
    };
}

Result<std::shared_ptr<Instance>> Instance::open(Module module, Settings settings, LogSink log) {
    std::shared_ptr<Instance> instance(new Instance(std::move(module), std::move(settings), std::move(log)));
    LK_CHECK(instance->guarded([&](lk_error* error) {
        return instance->module_.table.open(&instance->host_, &instance->raw_, error);
    }));
    if (instance->raw_ == nullptr) {
        return fail(Code::kInternal, "plugin " + instance->name() + " opened nothing");
    }
    return instance;
}

Instance::~Instance() {
    if (raw_ == nullptr) return;
    try {
        module_.table.close(raw_);
    } catch (...) {
        if (log_) log_(LogLevel::kError, name(), "the plugin threw when it was closed");
    }
}

Status Instance::failure(std::int32_t status, const lk_error& error) const {
    std::string message = one_line(error.message, sizeof error.message);
    if (message.empty()) message = "it failed without a word, status " + std::to_string(status);
    return fail(sdk::code_of(status), name() + ": " + message, one_line(error.next, sizeof error.next));
}

Status Instance::thrown(const char* what) const {
    return fail(Code::kInternal, "plugin " + name() + " threw across the seam: " + one_line(what, 256));
}

} // namespace latchkey::plugin_host
