// SPDX-License-Identifier: Apache-2.0
#include "agent/doctor/change.h"

#include <algorithm>
#include <ctime>

namespace latchkey::agent::doctor {
namespace {

std::string stamp(Micros now) {
    const std::time_t seconds = now.seconds();
    std::tm parts{};
    ::gmtime_r(&seconds, &parts);
    char text[32];
    const std::size_t size = std::strftime(text, sizeof text, "%Y%m%dT%H%M%SZ", &parts);
    return {text, size};
}

std::string free_name(Machine& machine, const std::string& path) {
    const std::string first = path + ".latchkey-old";
    if (!machine.look(first)) return first;
    const std::string dated = first + "." + stamp(machine.now());
    std::string name = dated;
    for (int more = 2; machine.look(name); ++more) name = dated + "." + std::to_string(more);
    return name;
}

} // namespace

Status Change::write(const std::string& path, const std::string& content) {
    Step step{path, std::nullopt, 0644};
    const auto real = machine_.real_path(path);
    if (real) {
        LK_TRY(before, machine_.read(*real));
        if (before == content) return {};
        LK_TRY(facts, machine_.look(*real));
        step.mode = facts.mode;
        const std::string old = free_name(machine_, *real);
        LK_CHECK(machine_.write(old, before, facts.mode));
        kept_.push_back(old);
        step.before = std::move(before);
    }
    LK_CHECK(machine_.write(path, content, step.mode));
    steps_.push_back(std::move(step));
    return {};
}

Status Change::make_link(const std::string& path, const std::string& target) {
    LK_CHECK(machine_.make_link(path, target));
    steps_.push_back({path, std::nullopt, 0});
    return {};
}

Status Change::take_back() {
    std::string left;
    for (auto step = steps_.rbegin(); step != steps_.rend(); ++step) {
        const Status status = step->before ? machine_.write(step->path, *step->before, step->mode)
                                           : machine_.remove(step->path);
        if (!status) left += (left.empty() ? "" : ", ") + step->path;
    }
    steps_.clear();
    if (left.empty()) return {};
    return fail(Code::kIo, "could not take back " + left, "the old ones are beside them: *.latchkey-old");
}

} // namespace latchkey::agent::doctor
