// SPDX-License-Identifier: Apache-2.0
#include "agent/doctor/doctor.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "agent/doctor/checks.h"
#include "agent/doctor/fix.h"
#include "agent/doctor/real_machine.h"
#include "agent/version.h"

namespace latchkey::agent::doctor {
namespace {

std::size_t count_of(const Findings& findings, Severity severity) {
    return static_cast<std::size_t>(std::count_if(
        findings.begin(), findings.end(), [&](const Finding& one) { return one.severity == severity; }));
}

std::string counted(std::size_t count, const std::string& noun) {
    return std::to_string(count) + " " + noun + (count == 1 ? "" : "s");
}

void pad_to(std::string& text, std::size_t width) {
    text.append(width > text.size() ? width - text.size() : 1, ' ');
}

std::string lines_of_finding(const Finding& finding) {
    std::string text(name_of(finding.severity));
    pad_to(text, 9);
    std::string head(finding.id);
    pad_to(head, 21);
    text += head + finding.what + "\n";
    if (!finding.why.empty()) text += "         why: " + finding.why + "\n";
    if (!finding.next.empty()) text += "         do:  " + finding.next + "\n";
    if (finding.can_fix) text += "         fix: latchkey-agent doctor --fix\n";
    return text;
}

int complain(const Error& error) {
    std::fprintf(stderr, "latchkey-agent: %s\n", error.line().c_str());
    return info(error.code == Code::kNotFound ? Code::kUsage : error.code).exit_status;
}

} // namespace

std::string to_text(const Findings& findings, const std::vector<Deed>& deeds, bool shows_all) {
    std::string text;
    for (const Deed& deed : deeds) text += (deed.is_done ? "done     " : "not done ") + deed.what + "\n";
    // The worst last: it stands above the prompt.
    for (const Severity severity :
         {Severity::kOk, Severity::kUnseen, Severity::kWarning, Severity::kProblem}) {
        if (severity == Severity::kOk && !shows_all) continue;
        for (const Finding& finding : findings) {
            if (finding.severity == severity) text += lines_of_finding(finding);
        }
    }
    text += counted(count_of(findings, Severity::kProblem), "problem") + ", " +
            counted(count_of(findings, Severity::kWarning), "warning") + ", " +
            std::to_string(count_of(findings, Severity::kUnseen)) + " not looked at, " +
            std::to_string(count_of(findings, Severity::kOk)) + " well\n";
    return text;
}

std::string to_json(const Findings& findings, const std::vector<Deed>& deeds) {
    nlohmann::json list = nlohmann::json::array();
    for (const Finding& finding : findings) {
        list.push_back({{"id", finding.id},
                        {"severity", name_of(finding.severity)},
                        {"what", finding.what},
                        {"why", finding.why},
                        {"next", finding.next},
                        {"can_fix", finding.can_fix}});
    }
    nlohmann::json done = nlohmann::json::array();
    for (const Deed& deed : deeds)
        done.push_back({{"id", deed.id}, {"done", deed.is_done}, {"what", deed.what}});
    const nlohmann::json document = {{"version", kAgentVersion},
                                     {"problems", count_of(findings, Severity::kProblem)},
                                     {"warnings", count_of(findings, Severity::kWarning)},
                                     {"unseen", count_of(findings, Severity::kUnseen)},
                                     {"findings", list},
                                     {"fixes", done}};
    // What sshd or a file said may be no UTF-8.
    return document.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

int run_doctor(const DoctorArguments& arguments) {
    const std::string config_file =
        arguments.config_file.empty() ? std::string(kDefaultConfigFile) : arguments.config_file;
    RealMachine machine;
    if (!arguments.config_file.empty()) {
        const auto there = machine.look(config_file);
        if (!there && there.error().code == Code::kNotFound) return complain(there.error());
    }
    std::vector<Deed> deeds;
    if (arguments.fix) {
        const Status begun = machine.is_root() ? machine.begin_to_mend() : Status();
        if (!begun) return complain(begun.error());
        deeds = fix(machine, config_file);
    }
    const Findings findings = examine(look_around(machine, config_file));
    const std::string text =
        arguments.as_json ? to_json(findings, deeds) : to_text(findings, deeds, arguments.shows_all);
    std::fputs(text.c_str(), stdout);
    return exit_status(findings);
}

} // namespace latchkey::agent::doctor
