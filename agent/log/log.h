// SPDX-License-Identifier: Apache-2.0
#pragma once
// The agent's log, one line an event as "verb object key=value", on stderr (systemd stamps and keeps it).
// error = someone must act, warn = degraded, info = rare change of state. Never a secret, and never more
// lines than a stranger can be made to pay for: repeated denials go through debug. Any thread. A line is one
// write: a library for that would be a twentieth of the memory that an idle agent takes.

#include <functional>
#include <string>
#include <string_view>

#include "core/base/result.h"

namespace latchkey::agent {

enum class LogLevel : std::uint8_t { kDebug = 1, kInfo, kWarn, kError };
enum class LogStamps : std::uint8_t { kBySystemd = 1, kOwn };

Result<LogLevel> parse_log_level(std::string_view text);
void set_up_log(LogLevel level, LogStamps stamps); // before the first other thread
// Lines go there and not to stderr, on whatever thread logs: a process of many agents counts them so.
using LogSink = std::function<void(LogLevel, const std::string& line)>;
void hand_log_to(LogSink taker); // before the first other thread
void log(LogLevel level, const std::string& line);

inline void log_debug(const std::string& line) {
    log(LogLevel::kDebug, line);
}
inline void log_info(const std::string& line) {
    log(LogLevel::kInfo, line);
}
inline void log_warn(const std::string& line) {
    log(LogLevel::kWarn, line);
}
inline void log_error(const std::string& line) {
    log(LogLevel::kError, line);
}

} // namespace latchkey::agent
