// SPDX-License-Identifier: Apache-2.0
#pragma once
// A change of several files that counts as a whole or is taken back; and Owed, what a change still owes to a
// running program, kept in /run so that it is paid even if we are killed in between. One thread.

#include <optional>
#include <string>
#include <vector>

#include "agent/doctor/machine.h"

namespace latchkey::agent::doctor {

class Change {
public:
    explicit Change(Machine& machine) : machine_(machine) {}

    // Keeps the old content beside the file first. A file that holds this already is left alone.
    Status write(const std::string& path, const std::string& content);
    Status make_link(const std::string& path, const std::string& target);
    // The last first. What cannot be taken back is in the message.
    Status take_back();
    const std::vector<std::string>& kept() const { return kept_; } // names of the old ones
    bool is_empty() const { return steps_.empty(); }

private:
    struct Step {
        std::string path;
        std::optional<std::string> before; // nullopt: it was not there
        mode_t mode = 0644;
    };

    Machine& machine_;
    std::vector<Step> steps_;
    std::vector<std::string> kept_;
};

class Owed {
public:
    Owed(Machine& machine, const std::string& what)
        : machine_(machine), path_("/run/latchkey-doctor." + what) {}
    bool is_due() { return machine_.look(path_).has_value(); }
    Status note() { return machine_.write(path_, "", 0600); }
    Status clear() { return machine_.remove(path_); }

private:
    Machine& machine_;
    std::string path_;
};

} // namespace latchkey::agent::doctor
