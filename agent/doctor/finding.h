// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the doctor says. A finding has a stable id of checks(), which docs/doctor.md lists too (a test
// compares them). One check may give several findings of its id; one that has nothing to object to gives one
// of severity ok.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace latchkey::agent::doctor {

enum class Severity : std::uint8_t {
    kOk = 1,
    kUnseen,  // it could not be looked at: `why` says what was in the way
    kWarning, // works, but will surprise somebody
    kProblem, // people are kept out, or let in past Latchkey
};

std::string_view name_of(Severity severity);

struct Finding {
    std::string_view id;
    Severity severity = Severity::kOk;
    std::string what; // one line
    std::string why;  // what comes of it; empty where all is well
    std::string next; // what to do; empty where nothing is to be done
    bool can_fix = false;
};

using Findings = std::vector<Finding>;

// Collects the findings of one check, so that each line at a call says only what differs.
class Report {
public:
    Report(std::string_view id, Findings& into) : id_(id), into_(into) {}

    void ok(std::string what) { add(Severity::kOk, std::move(what), {}, {}); }
    void unseen(std::string what, std::string why, std::string next = {}) {
        add(Severity::kUnseen, std::move(what), std::move(why), std::move(next));
    }
    void warning(std::string what, std::string why, std::string next) {
        add(Severity::kWarning, std::move(what), std::move(why), std::move(next));
    }
    void problem(std::string what, std::string why, std::string next) {
        add(Severity::kProblem, std::move(what), std::move(why), std::move(next));
    }
    // The finding said last is one that --fix mends.
    void can_fix() { into_.back().can_fix = true; }
    bool said_anything() const { return said_; }

private:
    void add(Severity severity, std::string what, std::string why, std::string next) {
        said_ = true;
        into_.push_back({id_, severity, std::move(what), std::move(why), std::move(next), false});
    }

    std::string_view id_;
    Findings& into_;
    bool said_ = false;
};

// 0 nothing wrong (warnings included), 1 a problem, 3 no problem seen, but not everything could be looked at.
int exit_status(const Findings& findings);

} // namespace latchkey::agent::doctor
