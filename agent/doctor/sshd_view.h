// SPDX-License-Identifier: Apache-2.0
#pragma once
// The sshd of this machine: which program, which version, started with which options, and what it says
// about itself (`sshd -T`). One thread; each run of sshd has a deadline.

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "agent/doctor/sshd_files.h"

namespace latchkey::agent::doctor {

// What `sshd -T` prints, by keyword in lower case.
class SshdSettings {
public:
    static SshdSettings parse(std::string_view text);
    std::string first(std::string_view keyword) const; // empty: sshd does not print it
    bool has(std::string_view keyword) const { return values_.find(keyword) != values_.end(); }
    const std::map<std::string, std::vector<std::string>, std::less<>>& all() const { return values_; }

private:
    std::map<std::string, std::vector<std::string>, std::less<>> values_;
};

// The part of a command line that changes what sshd reads.
struct SshdOptions {
    std::string config;               // of -f; empty: the usual one
    std::vector<std::string> options; // of -o
    bool empty() const { return config.empty() && options.empty(); }
};
SshdOptions parse_sshd_words(const Words& words);

struct Listener {
    pid_t pid = 0;
    std::string command;
    SshdOptions options;
};

struct Sshd {
    std::string program = "/usr/sbin/sshd";
    int major = 0; // 0: no sshd, or it does not say
    int minor = 0;
    std::vector<Listener> listeners;                        // those that run
    std::vector<std::pair<std::string, SshdOptions>> units; // where it stands, what it sets
    // Of the listener that runs, else of the unit that would start it.
    SshdOptions in_effect;

    bool is_at_least(int wanted_major, int wanted_minor) const {
        return major > wanted_major || (major == wanted_major && minor >= wanted_minor);
    }
    std::string main_config() const {
        return in_effect.config.empty() ? std::string(kMainConfig) : in_effect.config;
    }
};

Sshd find_sshd(Machine& machine);
// -T for a connection of this login; `config`: another main file than the one in effect.
Result<SshdSettings> ask_sshd(Machine& machine, const Sshd& sshd, const std::string& login,
                              const std::string& config = {});
// -t: kConfig with sshd's first line of complaint.
Status test_sshd(Machine& machine, const Sshd& sshd, const std::string& config = {});

} // namespace latchkey::agent::doctor
