// SPDX-License-Identifier: Apache-2.0
#include "agent/doctor/sshd_view.h"

#include <algorithm>
#include <cstdlib>

namespace latchkey::agent::doctor {
namespace {

constexpr Micros kSshdTime = from_seconds(10);
constexpr std::string_view kTitle = "sshd: ";
constexpr std::string_view kListenerMark = "[listener]";

// sshd writes its own command line into its title: "sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups".
std::optional<Listener> listener_of(const ProcessSeen& process) {
    if (process.name != "sshd") return std::nullopt;
    const std::size_t mark = process.command.find(kListenerMark);
    if (!process.command.starts_with(kTitle) || mark == std::string::npos) return std::nullopt;
    Listener listener;
    listener.pid = process.pid;
    listener.command = process.command.substr(kTitle.size(), mark - kTitle.size());
    listener.options = parse_sshd_words(words_of(listener.command));
    return listener;
}

std::string ssh_defaults(Machine& machine) {
    const auto text = machine.read("/etc/default/ssh");
    if (!text) return {};
    std::string value;
    for (const std::string& line : lines_of(*text)) {
        const Directive setting = parse_line(line);
        if (setting.keyword != "sshd_opts") continue;
        value = setting.value;
        // The file's own quotes; those inside are the value's.
        if (value.size() >= 2 && (value.front() == '"' || value.front() == '\'') &&
            value.back() == value.front()) {
            value = value.substr(1, value.size() - 2);
        }
    }
    return value;
}

// The ExecStart of a unit after all its drop-ins; an empty one takes back those before it.
std::string exec_start(Machine& machine, const std::string& unit) {
    const auto shown = machine.run({"systemctl", "cat", "--no-pager", unit}, kSshdTime);
    if (!shown || shown->status != 0) return {};
    std::string command;
    bool continues = false;
    for (std::string line : lines_of(shown->out)) {
        static constexpr std::string_view key = "ExecStart=";
        if (!continues && !line.starts_with(key)) continue;
        if (!continues) command.clear();
        const bool goes_on = !line.empty() && line.back() == '\\';
        if (goes_on) line.pop_back();
        command += continues ? line : line.substr(key.size());
        continues = goes_on;
    }
    return command;
}

void read_units(Machine& machine, Sshd& sshd) {
    const std::string defaults = ssh_defaults(machine);
    for (const std::string unit : {"ssh.service", "ssh@.service", "sshd@.service"}) {
        std::string command = exec_start(machine, unit);
        if (command.empty()) continue;
        const std::size_t variable = command.find("$SSHD_OPTS");
        if (variable != std::string::npos) command.replace(variable, 10, defaults);
        SshdOptions options = parse_sshd_words(words_of(command));
        if (!options.empty()) sshd.units.emplace_back(unit, std::move(options));
    }
}

Words sshd_words(const Sshd& sshd, const std::string& config) {
    Words words = {sshd.program};
    const std::string& file = config.empty() ? sshd.in_effect.config : config;
    if (!file.empty()) {
        words.emplace_back("-f");
        words.push_back(file);
    }
    for (const std::string& option : sshd.in_effect.options) {
        words.emplace_back("-o");
        words.push_back(option);
    }
    return words;
}

Failure complaint(const std::string& text) {
    const auto lines = lines_of(text);
    return fail(Code::kConfig, lines.empty() ? "sshd refuses its configuration" : lines.front(),
                "see: sshd -t");
}

} // namespace

SshdSettings SshdSettings::parse(std::string_view text) {
    SshdSettings settings;
    for (const std::string& line : lines_of(text)) {
        const std::size_t blank = line.find(' ');
        if (blank == std::string::npos) continue;
        settings.values_[lower(line.substr(0, blank))].push_back(line.substr(blank + 1));
    }
    return settings;
}

std::string SshdSettings::first(std::string_view keyword) const {
    const auto found = values_.find(keyword);
    return found == values_.end() ? std::string() : found->second.front();
}

SshdOptions parse_sshd_words(const Words& words) {
    static constexpr std::string_view with_value = "bCcEfghopu";
    SshdOptions found;
    for (std::size_t i = 1; i < words.size(); ++i) {
        const std::string& word = words[i];
        if (word.size() < 2 || word.front() != '-') continue;
        const std::size_t flag = word.find_first_of(with_value, 1);
        if (flag == std::string::npos) continue;
        std::string value = word.substr(flag + 1);
        if (value.empty() && i + 1 < words.size()) value = words[++i];
        // A title has lost its quotes: what follows and is no flag belongs to the value.
        while (word[flag] == 'o' && i + 1 < words.size() && words[i + 1].front() != '-')
            value += " " + words[++i];
        if (word[flag] == 'o') found.options.push_back(value);
        if (word[flag] == 'f') found.config = value;
    }
    return found;
}

Sshd find_sshd(Machine& machine) {
    Sshd sshd;
    const auto version = machine.run({sshd.program, "-V"}, kSshdTime);
    if (version) {
        const std::string text = version->err + version->out;
        constexpr std::string_view mark = "OpenSSH_";
        const std::size_t at = text.find(mark);
        if (at != std::string::npos) {
            char* rest = nullptr;
            sshd.major = static_cast<int>(std::strtol(text.c_str() + at + mark.size(), &rest, 10));
            if (*rest == '.') sshd.minor = static_cast<int>(std::strtol(rest + 1, nullptr, 10));
        }
    }
    for (const ProcessSeen& process : machine.processes()) {
        if (auto listener = listener_of(process)) sshd.listeners.push_back(*std::move(listener));
    }
    read_units(machine, sshd);
    // The machine's own sshd reads the usual file; another one beside it has -f.
    const auto usual = std::find_if(sshd.listeners.begin(), sshd.listeners.end(),
                                    [](const Listener& one) { return one.options.config.empty(); });
    if (usual != sshd.listeners.end()) {
        sshd.in_effect = usual->options;
    } else if (!sshd.listeners.empty()) {
        sshd.in_effect = sshd.listeners.front().options;
    } else if (!sshd.units.empty() && sshd.units.front().first == "ssh.service") {
        sshd.in_effect = sshd.units.front().second;
    }
    return sshd;
}

Result<SshdSettings> ask_sshd(Machine& machine, const Sshd& sshd, const std::string& login,
                              const std::string& config) {
    Words words = sshd_words(sshd, config);
    words.insert(
        words.end(),
        {"-T", "-C", "user=" + login + ",host=client.invalid,addr=192.0.2.77,laddr=192.0.2.78,lport=22"});
    LK_TRY(ran, machine.run(words, kSshdTime));
    if (ran.status != 0) return complaint(ran.err);
    return SshdSettings::parse(ran.out);
}

Status test_sshd(Machine& machine, const Sshd& sshd, const std::string& config) {
    Words words = sshd_words(sshd, config);
    words.emplace_back("-t");
    LK_TRY(ran, machine.run(words, kSshdTime));
    if (ran.status != 0) return complaint(ran.err);
    return {};
}

} // namespace latchkey::agent::doctor
