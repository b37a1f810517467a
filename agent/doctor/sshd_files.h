// SPDX-License-Identifier: Apache-2.0
#pragma once
// sshd_config and what it includes, in the order in which sshd reads it: the first value of a keyword wins.
// Drafts are contents that shall stand in place of files, or beside them, before anything is written: a
// configuration is read, and shown to sshd, with them. Values; one thread.

#include <map>
#include <string>
#include <vector>

#include "agent/doctor/machine.h"

namespace latchkey::agent::doctor {

inline constexpr std::string_view kMainConfig = "/etc/ssh/sshd_config";
inline constexpr std::string_view kDropIn = "/etc/ssh/sshd_config.d/00-latchkey.conf";
inline constexpr std::string_view kDropInSource =
    "/etc/latchkey/sshd.conf"; // the package's, linked from there

using Drafts = std::map<std::string, std::string>; // path, content

struct Directive {
    std::string file;
    std::size_t line = 0;  // from 1
    std::string keyword;   // lower case
    std::string value;     // as written, without the blanks around it
    std::string condition; // of the Match block that it stands in; empty: none
    std::string place() const { return file + " line " + std::to_string(line); }
};

struct SshdFiles {
    std::string main;
    std::vector<std::string> files; // in reading order, each once
    std::vector<Directive> directives;
    std::vector<std::string> unreadable; // included, but not to be read by us
    bool includes(std::string_view path) const;
    // The first outside of Match blocks: the one that counts. nullptr: none.
    const Directive* first(std::string_view keyword) const;
};

Result<SshdFiles> read_sshd_files(Machine& machine, const std::string& main, const Drafts& drafts = {});
// Writes the configuration with its drafts into a folder of its own, with Include lines that point into it,
// and returns its main file for `sshd -f`.
Result<std::string> stage_sshd_files(Machine& machine, const SshdFiles& files, const Drafts& drafts);

std::string lower(std::string_view text);
std::vector<std::string> lines_of(std::string_view text);
Words words_of(std::string_view text); // at blanks; "…" keeps what is inside together

// "keyword value" or "keyword=value" as sshd reads it; keyword empty: a comment or an empty line.
Directive parse_line(std::string_view line);

} // namespace latchkey::agent::doctor
