// SPDX-License-Identifier: Apache-2.0
// What sshd's files shall hold. Nothing is written here.
#include <algorithm>

#include "agent/doctor/checks.h"
#include "agent/doctor/fix_sshd.h"

namespace latchkey::agent::doctor {
namespace {

constexpr int kMostLinesMoved = 32;
constexpr std::string_view kMovedMark = "# Latchkey asks first; taken out by latchkey-agent doctor: ";
constexpr std::string_view kHead = "# Latchkey: sshd asks latchkey-agent for the keys that may log in.\n";
constexpr std::string_view kManaged[] = {"authorizedkeyscommand", "authorizedkeyscommanduser",
                                         "authorizedprincipalscommand", "authorizedprincipalscommanduser"};

bool is_ours_to_set(std::string_view keyword) {
    return std::find(std::begin(kManaged), std::end(kManaged), keyword) != std::end(kManaged);
}

// The drop-in as it is, wherever it lies; empty: there is none.
std::string drop_in_text(Machine& machine) {
    for (const std::string_view path : {kDropIn, kDropInSource}) {
        if (auto text = machine.read(std::string(path))) return *std::move(text);
    }
    return {};
}

// Our own words, without what is chained: as the drop-in has them if they are right, else the usual ones.
std::string own_command(const AgentConfig& config, const std::string& drop_in) {
    for (const std::string& line : lines_of(drop_in)) {
        const Directive directive = parse_line(line);
        if (directive.keyword != "authorizedkeyscommand" || !is_our_helper(directive.value)) continue;
        const std::string own = directive.value.substr(0, directive.value.find(" --then "));
        if (own.ends_with(" %u %t %k %f")) return own;
    }
    std::string command(kHelperPath);
    if (config.socket != AgentConfig().socket) command += " --socket " + config.socket;
    return command + " %u %t %k %f";
}

struct Wanted {
    std::string command;
    std::string user;
    std::string chained;
    std::string principals = "none";
    std::string principals_user;
    bool keeps_principals = false;
};

// sshd gives a command without words of its own the login.
std::string with_words(const std::string& command) {
    return words_of(command).size() == 1 ? command + " %u" : command;
}

// The first command in the files that is not ours; nullptr: none.
const Directive* other_command(const SshdFiles& files, std::string_view keyword) {
    for (const Directive& directive : files.directives) {
        const bool fits = directive.keyword == keyword && directive.condition.empty();
        if (fits && !is_none(directive.value) && !is_our_helper(directive.value)) return &directive;
    }
    return nullptr;
}

// The user that stands nearest below or above the command in its file.
std::string user_beside(const SshdFiles& files, const Directive& command, const std::string& keyword) {
    for (const Directive& directive : files.directives) {
        if (directive.keyword == keyword && directive.file == command.file && directive.condition.empty())
            return directive.value;
    }
    const Directive* anywhere = files.first(keyword);
    return anywhere == nullptr ? std::string() : anywhere->value;
}

Wanted what_is_wanted(const Look& look, const std::string& drop_in) {
    Wanted wanted;
    const SshdSettings& settings = *look.settings();
    const std::string in_effect = settings.first("authorizedkeyscommand");
    wanted.command = own_command(look.config, drop_in);
    wanted.user = look.config.helper_user;
    if (!is_none(in_effect) && !is_our_helper(in_effect)) {
        wanted.chained = with_words(in_effect);
        wanted.user = settings.first("authorizedkeyscommanduser");
    } else if (!chained_command(in_effect).empty()) {
        wanted.chained = chained_command(in_effect);
        wanted.user = settings.first("authorizedkeyscommanduser");
    } else if (const Directive* other = other_command(*look.files, "authorizedkeyscommand")) {
        wanted.chained = with_words(other->value);
        wanted.user = user_beside(*look.files, *other, "authorizedkeyscommanduser");
    }
    if (!wanted.chained.empty()) wanted.command += " --then " + wanted.chained;
    if (const Directive* principals = other_command(*look.files, "authorizedprincipalscommand")) {
        wanted.principals = principals->value;
        wanted.principals_user = user_beside(*look.files, *principals, "authorizedprincipalscommanduser");
        wanted.keeps_principals = is_none(settings.first("authorizedprincipalscommand"));
    }
    return wanted;
}

std::string new_drop_in(const std::string& old, const Wanted& wanted) {
    std::string ours = "AuthorizedPrincipalsCommand " + wanted.principals + "\n";
    if (!is_none(wanted.principals) && !wanted.principals_user.empty())
        ours += "AuthorizedPrincipalsCommandUser " + wanted.principals_user + "\n";
    ours += "AuthorizedKeysCommand " + wanted.command + "\nAuthorizedKeysCommandUser " + wanted.user + "\n";
    std::string text = old.empty() ? std::string(kHead) : std::string();
    bool is_in = false;
    bool in_match = false;
    for (const std::string& line : lines_of(old)) {
        const Directive directive = parse_line(line);
        in_match = in_match || directive.keyword == "match";
        const bool is_replaced = !in_match && is_ours_to_set(directive.keyword);
        if (!is_in && (in_match || is_replaced)) {
            text += ours;
            is_in = true;
        }
        if (!is_replaced) text += line + "\n";
    }
    if (!is_in) text += ours;
    return text;
}

std::string without_line(const std::string& text, std::size_t number) {
    std::string out;
    std::size_t at = 0;
    for (const std::string& line : lines_of(text)) {
        ++at;
        out += at == number ? std::string(kMovedMark) + line + "\n" : line + "\n";
    }
    return out;
}

Result<std::string> drafted(Machine& machine, const Drafts& drafts, const std::string& path) {
    const auto draft = drafts.find(path);
    if (draft != drafts.end()) return draft->second;
    return machine.read(path);
}

} // namespace

Result<SshdPlan> plan_sshd(const Look& look) {
    if (!look.files) return fail(look.files.error());
    if (look.settings() == nullptr) return fail(Code::kUnavailable, "sshd -T does not say what is in effect");
    if (look.files->main != kMainConfig)
        return fail(Code::kUnsupported, "this sshd reads " + look.files->main, "do it by hand there");
    const std::string old = drop_in_text(look.machine);
    const Wanted wanted = what_is_wanted(look, old);
    if (!look.machine.user_id(wanted.user))
        return fail(Code::kNotFound, "there is no account " + wanted.user, "see helper-user");
    SshdPlan plan{{}, wanted.user, wanted.chained, wanted.keeps_principals};
    const std::string drop_in(kDropIn);
    plan.drafts[drop_in] = new_drop_in(old, wanted);
    LK_TRY(files, read_sshd_files(look.machine, look.files->main, plan.drafts));
    if (!files.includes(drop_in)) {
        LK_TRY(main, drafted(look.machine, plan.drafts, look.files->main));
        plan.drafts[look.files->main] = "Include " + drop_in + "\n" + main;
    }
    for (int moved = 0; moved < kMostLinesMoved; ++moved) {
        LK_TRY(fresh, read_sshd_files(look.machine, look.files->main, plan.drafts));
        const Directive* in_the_way = nullptr;
        for (const std::string_view keyword : kManaged) {
            const Directive* first = fresh.first(keyword);
            const bool is_other = first != nullptr && first->file != kDropIn;
            // Its own user and an earlier AuthorizedPrincipalsCommand lose nothing where they stand.
            const bool counts = keyword.starts_with("authorizedkeys") || plan.keeps_principals;
            if (is_other && counts) in_the_way = first;
        }
        if (in_the_way == nullptr) return plan;
        LK_TRY(text, drafted(look.machine, plan.drafts, in_the_way->file));
        plan.drafts[in_the_way->file] = without_line(text, in_the_way->line);
    }
    return fail(Code::kTooLarge, "too many lines stand in the way of ours", "see dropin-order");
}

} // namespace latchkey::agent::doctor
