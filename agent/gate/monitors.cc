// SPDX-License-Identifier: Apache-2.0
#include "agent/gate/monitors.h"

#include <algorithm>

namespace latchkey::agent {

bool Monitors::allow(const ProcessId& monitor, AllowedLogin allowed) {
    auto place = records_.find(monitor);
    if (place == records_.end()) {
        if (records_.size() >= kMaxMonitors) return false;
        place = records_.try_emplace(monitor).first;
    }
    std::vector<AllowedLogin>& list = place->second.allowed;
    const auto same = std::ranges::find(list, allowed.offer, &AllowedLogin::offer);
    if (same != list.end()) {
        *same = std::move(allowed);
        return true;
    }
    if (list.size() >= kMaxCredentials) return false;
    list.push_back(std::move(allowed));
    return true;
}

const std::vector<AllowedLogin>* Monitors::of(const ProcessId& monitor) const {
    const auto place = records_.find(monitor);
    return place == records_.end() ? nullptr : &place->second.allowed;
}

void Monitors::note_passed(const ProcessId& monitor, Micros now) {
    const auto place = records_.find(monitor);
    if (place != records_.end()) place->second.passed = now;
}

std::vector<ProcessId> Monitors::passed_by(Micros then) const {
    std::vector<ProcessId> found;
    for (const auto& [monitor, record] : records_) {
        if (record.passed && *record.passed <= then) found.push_back(monitor);
    }
    return found;
}

void Monitors::drop_dead(const Processes& processes) {
    std::erase_if(records_,
                  [&](const auto& entry) { return is_gone(entry.first, processes.find(entry.first.pid)); });
}

} // namespace latchkey::agent
