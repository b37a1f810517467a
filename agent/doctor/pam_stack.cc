// SPDX-License-Identifier: Apache-2.0
#include "agent/doctor/pam_stack.h"

#include <algorithm>
#include <cctype>

namespace latchkey::agent::doctor {
namespace {

constexpr int kMaxDepth = 16;

class Reader {
public:
    Reader(Machine& machine, const Drafts& drafts, std::vector<PamLine>& into)
        : machine_(machine), drafts_(drafts), into_(into) {}

    // only_type: of an "include" or "substack" line, which takes over one type; empty: all.
    Status read(const std::string& service, const std::string& only_type, int substack, int depth) {
        if (depth > kMaxDepth)
            return fail(Code::kTooLarge, "PAM services include each other too deeply: " + service);
        const std::string path = service.front() == '/' ? service : std::string(kPamFolder) + service;
        const auto draft = drafts_.find(path);
        LK_TRY(text, draft != drafts_.end() ? Result<std::string>(draft->second) : machine_.read(path));
        std::size_t number = 0;
        std::string whole;
        for (const std::string& line : lines_of(text)) {
            ++number;
            whole += line.substr(0, line.find('#'));
            if (!whole.empty() && whole.back() == '\\') {
                whole.back() = ' ';
                continue;
            }
            LK_CHECK(take({path, number}, words_of_line(whole), only_type, substack, depth));
            whole.clear();
        }
        return {};
    }

private:
    struct Place {
        std::string file;
        std::size_t line;
    };

    // At blanks, but "[success=1 default=ignore]" is one word.
    static Words words_of_line(const std::string& line) {
        Words words;
        bool in_brackets = false;
        for (const std::string& word : words_of(line)) {
            if (in_brackets) {
                words.back() += " " + word;
            } else {
                words.push_back(word);
            }
            if (!in_brackets && word.front() == '[') in_brackets = true;
            if (in_brackets && word.back() == ']') in_brackets = false;
        }
        return words;
    }

    Status take(const Place& place, const Words& words, const std::string& only_type, int substack,
                int depth) {
        if (words.size() < 2) return {};
        if (words[0] == "@include") return read(words[1], only_type, substack, depth + 1);
        if (words.size() < 3) return {};
        const std::string type = lower(words[0].front() == '-' ? words[0].substr(1) : words[0]);
        if (!only_type.empty() && type != only_type) return {};
        const std::string control = lower(words[1]);
        if (control == "include") return read(words[2], type, substack, depth + 1);
        if (control == "substack") return read(words[2], type, ++substacks_, depth + 1);
        into_.push_back(
            {place.file, place.line, type, control, words[2].substr(words[2].rfind('/') + 1), substack});
        return {};
    }

    Machine& machine_;
    const Drafts& drafts_;
    std::vector<PamLine>& into_;
    int substacks_ = 0;
};

// How many lines a control may jump over; -1: it may end the stack.
int reach_of(const std::string& control) {
    if (control == "sufficient" || control == "binding") return -1;
    if (control.front() != '[') return 0;
    int reach = 0;
    for (const std::string& word : words_of(std::string_view(control).substr(1, control.size() - 2))) {
        const std::string action = word.substr(word.find('=') + 1);
        if (action == "done") return -1;
        if (!action.empty() && std::isdigit(static_cast<unsigned char>(action.front())) != 0 &&
            action.size() < 4) {
            reach = std::max(reach, std::stoi(action));
        }
    }
    return reach;
}

} // namespace

Result<std::vector<PamLine>> read_pam_service(Machine& machine, const std::string& service,
                                              const Drafts& drafts) {
    std::vector<PamLine> lines;
    LK_CHECK(Reader(machine, drafts, lines).read(service, {}, 0, 0));
    return lines;
}

std::vector<PamLine> of_type(const std::vector<PamLine>& lines, std::string_view type) {
    std::vector<PamLine> out;
    for (const PamLine& line : lines) {
        if (line.type == type) out.push_back(line);
    }
    return out;
}

const PamLine* what_can_skip(const std::vector<PamLine>& lines, std::size_t index) {
    for (std::size_t i = 0; i < index; ++i) {
        const int reach = reach_of(lines[i].control);
        // The end of a substack is not the end of the stack around it.
        const bool same_level = lines[i].substack == lines[index].substack || lines[i].substack == 0;
        if (reach < 0 && same_level) return &lines[i];
        if (reach > 0 && i + static_cast<std::size_t>(reach) >= index) return &lines[i];
    }
    return nullptr;
}

} // namespace latchkey::agent::doctor
