// SPDX-License-Identifier: Apache-2.0
#include "agent/doctor/sshd_files.h"

#include <fnmatch.h>

#include <algorithm>
#include <cctype>
#include <set>

namespace latchkey::agent::doctor {
namespace {

constexpr std::string_view kBlanks = " \t\r\f";
constexpr int kMaxIncludes = 16; // as sshd

std::string_view trimmed(std::string_view text) {
    text.remove_prefix(std::min(text.find_first_not_of(kBlanks), text.size()));
    return text.substr(0, text.find_last_not_of(kBlanks) + 1);
}

class ConfigReader {
public:
    ConfigReader(Machine& machine, const Drafts& drafts, SshdFiles& into)
        : machine_(machine), drafts_(drafts), into_(into) {}

    Status read(const std::string& path, const std::string& condition, int depth) {
        if (depth > kMaxIncludes)
            return fail(Code::kTooLarge, path + ": files include each other too deeply", "see its Include");
        LK_TRY(text, content(path));
        if (!into_.includes(path)) into_.files.push_back(path);
        std::string here = condition; // a Match ends with its file
        std::size_t number = 0;
        for (const std::string& line : lines_of(text)) {
            Directive directive = parse_line(line);
            ++number;
            if (directive.keyword.empty()) continue;
            directive.file = path;
            directive.line = number;
            if (directive.keyword == "match") here = lower(directive.value) == "all" ? "" : directive.value;
            directive.condition = here;
            into_.directives.push_back(directive);
            if (directive.keyword == "include") LK_CHECK(include(directive.value, here, depth));
        }
        return {};
    }

    std::vector<std::string> expand(const std::string& pattern) const {
        const std::string whole = pattern.front() == '/' ? pattern : "/etc/ssh/" + pattern;
        const std::vector<std::string> there = machine_.glob(whole);
        std::set<std::string> all(there.begin(), there.end());
        for (const auto& [path, text] : drafts_) {
            if (::fnmatch(whole.c_str(), path.c_str(), FNM_PATHNAME | FNM_PERIOD) == 0) all.insert(path);
        }
        return {all.begin(), all.end()};
    }

    Result<std::string> content(const std::string& path) const {
        const auto draft = drafts_.find(path);
        if (draft != drafts_.end()) return draft->second;
        return machine_.read(path);
    }

private:
    Status include(const std::string& value, const std::string& condition, int depth) {
        for (const std::string& pattern : words_of(value)) {
            if (pattern.empty()) continue;
            for (const std::string& path : expand(pattern)) {
                const Status status = read(path, condition, depth + 1);
                if (status) continue;
                if (status.error().code == Code::kTooLarge) return status;
                into_.unreadable.push_back(path);
            }
        }
        return {};
    }

    Machine& machine_;
    const Drafts& drafts_;
    SshdFiles& into_;
};

} // namespace

std::string lower(std::string_view text) {
    std::string out(text);
    for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return out;
}

std::vector<std::string> lines_of(std::string_view text) {
    std::vector<std::string> lines;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        lines.emplace_back(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return lines;
}

Words words_of(std::string_view text) {
    Words words;
    std::string word;
    bool quoted = false;
    bool open = false;
    for (const char c : text) {
        if (c == '"') {
            quoted = !quoted;
            open = true;
        } else if (!quoted && (kBlanks.find(c) != std::string_view::npos || c == '\n')) {
            if (open) words.push_back(std::move(word));
            word.clear();
            open = false;
        } else {
            word += c;
            open = true;
        }
    }
    if (open) words.push_back(std::move(word));
    return words;
}

Directive parse_line(std::string_view line) {
    Directive directive;
    line = trimmed(line);
    if (line.empty() || line.front() == '#') return directive;
    const std::size_t end = std::min(line.find_first_of(" \t="), line.size());
    directive.keyword = lower(line.substr(0, end));
    std::string_view rest = trimmed(line.substr(end));
    if (!rest.empty() && rest.front() == '=') rest = trimmed(rest.substr(1));
    directive.value = std::string(rest);
    return directive;
}

bool SshdFiles::includes(std::string_view path) const {
    return std::find(files.begin(), files.end(), path) != files.end();
}

const Directive* SshdFiles::first(std::string_view keyword) const {
    for (const Directive& directive : directives) {
        if (directive.keyword == keyword && directive.condition.empty()) return &directive;
    }
    return nullptr;
}

Result<SshdFiles> read_sshd_files(Machine& machine, const std::string& main, const Drafts& drafts) {
    SshdFiles files;
    files.main = main;
    LK_CHECK(ConfigReader(machine, drafts, files).read(main, {}, 0));
    return files;
}

Result<std::string> stage_sshd_files(Machine& machine, const SshdFiles& files, const Drafts& drafts) {
    SshdFiles unused;
    const ConfigReader reader(machine, drafts, unused);
    const auto name_of_file = [&](const std::string& path) {
        const auto at = std::find(files.files.begin(), files.files.end(), path) - files.files.begin();
        return std::to_string(at) + ".conf";
    };
    std::map<std::string, std::string> staged;
    for (const std::string& path : files.files) {
        LK_TRY(text, reader.content(path));
        std::string out;
        for (const std::string& line : lines_of(text)) {
            const Directive directive = parse_line(line);
            if (directive.keyword != "include") {
                out += line + "\n";
                continue;
            }
            // One Include a file keeps the order; the folder's name is put in by stage().
            for (const std::string& pattern : words_of(directive.value)) {
                for (const std::string& found : reader.expand(pattern)) {
                    if (files.includes(found)) out += "Include @FOLDER@/" + name_of_file(found) + "\n";
                }
            }
        }
        staged[name_of_file(path)] = std::move(out);
    }
    LK_TRY(folder, machine.stage(staged));
    return folder + "/0.conf";
}

} // namespace latchkey::agent::doctor
