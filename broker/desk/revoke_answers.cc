// SPDX-License-Identifier: Apache-2.0
#include "broker/desk/revoke_answers.h"

#include <algorithm>
#include <cstdio>

#include "broker/desk/text.h"

namespace latchkey::desk {
namespace {

using hub::Answer;
using hub::VmAnswer;

constexpr Micros kSlice = from_millis(100); // between two looks at the count
constexpr std::size_t kNamesShown = 5;
constexpr std::size_t kUsualWidth = 80; // of a terminal that does not say

std::string seconds_text(Micros span) {
    char text[32] = {};
    const int size = std::snprintf(text, sizeof text, "%.2f s", static_cast<double>(span.value) / 1e6);
    return std::string(text, static_cast<std::size_t>(std::clamp(size, 0, 31)));
}

std::string_view state_of(Answer answer) {
    switch (answer) {
        case Answer::kConfirmed:
            return "confirmed";
        case Answer::kTrouble:
            return "trouble";
        case Answer::kWaiting:
            return "waiting";
        case Answer::kRefused:
            return "too-old";
        case Answer::kUnreachable:
            return "unreachable";
    }
    return "unknown";
}

std::string grants_text(const VmAnswer& vm, Micros now) {
    if (vm.grants_end <= now) return "it holds no grants";
    return "its grants end in " + span_text(vm.grants_end - now);
}

std::string answer_text(const VmAnswer& vm, Micros now) {
    switch (vm.answer) {
        case Answer::kConfirmed:
            return "confirmed";
        case Answer::kTrouble:
            return std::to_string(vm.sessions_ended) + " of " + std::to_string(vm.sessions_found) +
                   " sessions ended: " + printable(vm.trouble);
        case Answer::kWaiting:
            return "connected, has not answered yet, " + grants_text(vm, now);
        case Answer::kRefused:
            return "its agent is too old to understand it, " + grants_text(vm, now);
        case Answer::kUnreachable:
            break;
    }
    return (vm.was_lost ? "left while we waited" : "last seen " + ago_text(vm.last_seen, now)) + ", " +
           grants_text(vm, now);
}

// "; 2 unreachable: web-7 (…), web-8 (…)"; nothing where there is none.
std::string group_text(const hub::ReceiptCount& count, Answer answer, const char* title, Micros now,
                       VmNames names) {
    const std::size_t size = count.count(answer);
    if (size == 0) return {};
    std::string text = "; " + std::to_string(size) + " " + title;
    if (names == VmNames::kHidden) return text;
    text += ": ";
    std::size_t shown = 0;
    for (const VmAnswer& vm : count.vms) {
        if (vm.answer != answer) continue;
        if (shown == kNamesShown) return text + " and " + std::to_string(size - shown) + " more";
        text += (shown++ == 0 ? "" : ", ") + vm.name.str() + " (" + answer_text(vm, now) + ")";
    }
    return text;
}

// The one line that grows, as wide as the terminal at most, so that it stays one line. On stdout: an ssh
// client brings stdout and stderr in any order, and the result is to stand after it.
class LiveLine {
public:
    LiveLine(Console& console, bool is_on) : console_(console), is_on_(is_on) {}

    void show(std::string text) {
        if (!is_on_) return;
        const std::size_t width = console_.width() == 0 ? kUsualWidth : console_.width();
        const std::size_t room = std::max<std::size_t>(width, 21) - 1;
        if (text.size() > room) text = text.substr(0, room - 3) + "...";
        const std::size_t size = text.size();
        text.append(drawn_ > size ? drawn_ - size : 0, ' ');
        console_.out("\r" + text);
        drawn_ = size;
    }
    void clear() {
        if (is_on_ && drawn_ > 0) console_.out("\r" + std::string(drawn_, ' ') + "\r");
    }

private:
    Console& console_;
    bool is_on_;
    std::size_t drawn_ = 0; // columns; names and texts of ours are ASCII
};

} // namespace

VmNames names_for(const Call& call) {
    return call.is_at_least(ledger::Role::kAuditor) ? VmNames::kShown : VmNames::kHidden;
}

std::string answers_line(const hub::ReceiptCount& count, Micros took, Micros now, VmNames names) {
    const auto group = [&](Answer answer, const char* title) {
        return group_text(count, answer, title, now, names);
    };
    return std::to_string(count.confirmed()) + "/" + std::to_string(count.expected()) + " VMs confirmed in " +
           seconds_text(took) + group(Answer::kTrouble, "in trouble") + group(Answer::kRefused, "too old") +
           group(Answer::kWaiting, "waited for") + group(Answer::kUnreachable, "unreachable");
}

Result<Waited> await_answers(Call& call, const Wait& wait) {
    const Clock& clock = call.context.clock;
    Fleet& fleet = call.context.fleet;
    LiveLine live(call.console, call.console.is_terminal() && !call.arguments.wants_json());
    const Micros deadline = wait.began + wait.span;
    LK_TRY(count, fleet.receipts(wait.epoch));
    Micros after;
    for (;;) {
        const bool have_connected_answered =
            fleet.wait_receipts(wait.epoch, std::min(deadline, clock.monotonic() + kSlice));
        fleet.look(count);
        after = clock.monotonic();
        live.show(answers_line(count, after - wait.began, call.now(), names_for(call)));
        const bool is_answered = count.count(Answer::kWaiting) + count.count(Answer::kUnreachable) == 0;
        if (is_answered || (have_connected_answered && !wait.is_for_all) || after >= deadline) break;
        // All connected ones have answered and the caller waits for the others too: time must pass.
        const bool goes_on = have_connected_answered ? call.console.pause(kSlice) : !call.console.is_gone();
        if (!goes_on) break;
    }
    live.clear();
    LK_TRY(last, fleet.receipts(wait.epoch)); // with what the receipts say
    for (VmAnswer& vm : last.vms) {
        const auto seen = std::ranges::find(count.vms, vm.id, &VmAnswer::id);
        vm.was_lost = vm.answer == Answer::kUnreachable && seen != count.vms.end() && seen->was_lost;
    }
    return Waited{std::move(last), after - wait.began};
}

std::vector<Record> answer_rows(const hub::ReceiptCount& count) {
    std::vector<Record> rows;
    for (const VmAnswer& vm : count.vms) {
        const bool has_answered = vm.answered_at.value != 0;
        rows.push_back({
            {"vm", vm.name.str()},
            {"state", std::string(state_of(vm.answer))},
            {"answered_at", vm.answered_at},
            {"receipt_epoch", has_answered ? desk::count(vm.receipt_epoch.value) : Value(), Shown::kJsonOnly},
            {"sessions_found", has_answered ? desk::count(vm.sessions_found) : Value()},
            {"sessions_ended", has_answered ? desk::count(vm.sessions_ended) : Value()},
            {"last_seen", vm.last_seen},
            {"grants_end", has_answered ? Value() : Value(vm.grants_end)},
            {"trouble", text_or_null(vm.trouble)},
        });
    }
    return rows;
}

void add_answers(Record& record, const hub::ReceiptCount& count, VmNames names) {
    record.push_back({"vms_expected", desk::count(count.expected())});
    record.push_back({"vms_confirmed", desk::count(count.confirmed())});
    if (names == VmNames::kHidden) return;
    std::vector<std::string> missing;
    std::vector<std::string> troubled;
    hub::ReceiptCount unconfirmed;
    for (const VmAnswer& vm : count.vms) {
        if (vm.answer == Answer::kConfirmed) continue;
        (vm.answer == Answer::kTrouble ? troubled : missing).push_back(vm.name.str());
        unconfirmed.vms.push_back(vm);
    }
    record.push_back({"vms_missing", missing});
    record.push_back({"vms_troubled", troubled});
    record.push_back({"unconfirmed", rows_json(answer_rows(unconfirmed)), Shown::kJsonOnly});
}

Status check_complete(const hub::ReceiptCount& count) {
    if (count.is_complete()) return {};
    const std::size_t troubled = count.count(Answer::kTrouble);
    const std::size_t missing = count.expected() - count.confirmed() - troubled;
    std::string what;
    if (missing > 0) what = std::to_string(missing) + " VMs have not confirmed yet";
    if (troubled > 0) {
        what += (what.empty() ? "" : ", ") + std::to_string(troubled) + " VMs could not do all of it";
    }
    return fail(Code::kPartial, what, "look again with: revoke show " + std::to_string(count.epoch.value));
}

} // namespace latchkey::desk
