// SPDX-License-Identifier: Apache-2.0
#include "broker/desk/text.h"

#include <charconv>
#include <ctime>

namespace latchkey::desk {
namespace {

constexpr std::int64_t kMinute = 60;
constexpr std::int64_t kHour = 60 * kMinute;
constexpr std::int64_t kDay = 24 * kHour;

std::string formatted(Micros at, const char* format) {
    const std::time_t seconds = static_cast<std::time_t>(at.seconds());
    std::tm parts{};
    if (gmtime_r(&seconds, &parts) == nullptr) return "?";
    char text[40] = {};
    return std::string(text, std::strftime(text, sizeof text, format, &parts));
}

// Length of the UTF-8 sequence at the start, 0 where there is none.
std::size_t utf8_size(std::string_view text) {
    const auto lead = static_cast<unsigned char>(text[0]);
    const std::size_t size = lead < 0x80                   ? 1
                             : lead >= 0xc2 && lead < 0xe0 ? 2
                             : lead >= 0xe0 && lead < 0xf0 ? 3
                             : lead >= 0xf0 && lead < 0xf5 ? 4
                                                           : 0;
    if (size == 0 || size > text.size()) return 0;
    for (std::size_t i = 1; i < size; ++i) {
        if ((static_cast<unsigned char>(text[i]) & 0xc0) != 0x80) return 0;
    }
    return size;
}

bool is_control(std::string_view sequence) {
    const auto first = static_cast<unsigned char>(sequence[0]);
    if (sequence.size() == 1) return first < 0x20 || first == 0x7f;
    return first == 0xc2 && static_cast<unsigned char>(sequence[1]) < 0xa0; // C1 controls
}

} // namespace

std::string time_text(Micros at) {
    return at.value == 0 ? "never" : formatted(at, "%Y-%m-%d %H:%M:%S UTC");
}

std::string time_rfc3339(Micros at) {
    return formatted(at, "%Y-%m-%dT%H:%M:%SZ");
}

std::string span_text(Micros span) {
    std::int64_t seconds = span.seconds() < 0 ? 0 : span.seconds();
    if (seconds < kMinute) return std::to_string(seconds) + " s";
    const std::int64_t unit = seconds < kDay ? kMinute : kHour;
    seconds = (seconds + unit / 2) / unit * unit; // 12 h less some milliseconds are 12 h
    if (seconds < kHour) return std::to_string(seconds / kMinute) + " min";
    const bool is_days = seconds >= kDay;
    const std::int64_t large = is_days ? seconds / kDay : seconds / kHour;
    const std::int64_t small = is_days ? seconds % kDay / kHour : seconds % kHour / kMinute;
    std::string text = std::to_string(large) + (is_days ? " d" : " h");
    if (small > 0) text += " " + std::to_string(small) + (is_days ? " h" : " min");
    return text;
}

std::string until_text(Micros at, Micros now) {
    return time_text(at) + (at > now ? " (in " + span_text(at - now) + ")" : " (over)");
}

std::string ago_text(Micros at, Micros now) {
    return at.value == 0 ? "never" : span_text(now - at) + " ago";
}

Result<std::uint64_t> parse_number(std::string_view text, std::string_view what) {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) {
        return fail(Code::kUsage, std::string(what) + " is not a number", "write decimal digits");
    }
    return value;
}

Result<Micros> parse_span(std::string_view text, std::string_view flag) {
    std::int64_t unit = 1;
    std::string_view digits = text;
    if (!text.empty()) {
        const char last = text.back();
        unit = last == 'm' ? kMinute : last == 'h' ? kHour : last == 'd' ? kDay : 1;
        if (last == 's' || last == 'm' || last == 'h' || last == 'd') digits.remove_suffix(1);
    }
    const Failure bad = fail(Code::kUsage, std::string(flag) + " wants a span such as 30s, 15m, 12h or 7d");
    auto count = parse_number(digits, flag);
    if (!count || *count == 0 || *count > 366ULL * kDay) return bad;
    const std::int64_t seconds = static_cast<std::int64_t>(*count) * unit;
    if (seconds > 366 * kDay) return bad;
    return from_seconds(seconds);
}

Result<Micros> parse_time(std::string_view text, Micros now, std::string_view flag) {
    std::tm parts{};
    const std::string owned(text);
    const char* const end = strptime(owned.c_str(), "%Y-%m-%dT%H:%M:%SZ", &parts);
    if (end != nullptr && *end == '\0') {
        const std::tm asked = parts;
        const std::time_t seconds = timegm(&parts);
        // timegm puts a 31 February right; we do not.
        if (seconds > 0 && parts.tm_mon == asked.tm_mon && parts.tm_mday == asked.tm_mday) {
            return from_seconds(seconds);
        }
    }
    auto span = parse_span(text, flag);
    if (!span) {
        return fail(Code::kUsage, std::string(flag) + " is not a time",
                    "write 2026-01-31T18:35:00Z, or a span such as 1h for an hour ago");
    }
    return now - *span;
}

std::string printable(std::string_view text) {
    std::string out;
    while (!text.empty()) {
        const std::size_t size = utf8_size(text);
        const bool is_good = size > 0 && !is_control(text.substr(0, size));
        if (is_good) out += text.substr(0, size);
        if (!is_good) out += '?';
        text.remove_prefix(size == 0 ? 1 : size);
    }
    return out;
}

Status check_free_text(std::string_view text, std::string_view what, std::size_t limit) {
    if (text.empty()) return fail(Code::kUsage, std::string(what) + " is empty");
    if (text.size() > limit) {
        return fail(Code::kUsage, std::string(what) + " is over " + std::to_string(limit) + " bytes");
    }
    if (printable(text) != text) {
        return fail(Code::kUsage, std::string(what) + " has characters that cannot be printed");
    }
    return {};
}

} // namespace latchkey::desk
