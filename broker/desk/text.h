// SPDX-License-Identifier: Apache-2.0
#pragma once
// Times and spans as people write and read them. Times are UTC. Values; any thread.

#include <string>
#include <string_view>

#include "core/base/clock.h"
#include "core/base/result.h"

namespace latchkey::desk {

std::string time_text(Micros at);              // "2026-01-31 18:35:02 UTC"; "never" for 0
std::string time_rfc3339(Micros at);           // "2026-01-31T18:35:02Z"
std::string span_text(Micros span);            // "59 min", "11 h 59 min", "3 d 4 h", "12 s"
std::string until_text(Micros at, Micros now); // "2026-01-31 18:35:02 UTC (in 59 min)"
std::string ago_text(Micros at, Micros now);   // "12 min ago", "never"

// "30s", "15m", "12h", "7d", or seconds alone; kUsage names the flag. Positive, at most 366 days.
Result<Micros> parse_span(std::string_view text, std::string_view flag);
// RFC 3339 in UTC, or a span: that long ago.
Result<Micros> parse_time(std::string_view text, Micros now, std::string_view flag);
Result<std::uint64_t> parse_number(std::string_view text, std::string_view what);

// Free text for a terminal: control characters become '?'.
std::string printable(std::string_view text);
// kUsage where it has control characters, is not UTF-8, or is over the limit.
Status check_free_text(std::string_view text, std::string_view what, std::size_t limit);

} // namespace latchkey::desk
