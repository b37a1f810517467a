// SPDX-License-Identifier: Apache-2.0
#include "agent/log/log.h"

#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <ctime>

namespace latchkey::agent {
namespace {

// Set before there are threads that log.
LogLevel least = LogLevel::kInfo;
LogStamps stamps_by = LogStamps::kBySystemd;
LogSink sink;

const char* word_of(LogLevel level) {
    switch (level) {
        case LogLevel::kDebug:
            return "debug ";
        case LogLevel::kInfo:
            return "info ";
        case LogLevel::kWarn:
            return "warning ";
        case LogLevel::kError:
            break;
    }
    return "error ";
}

// Local time to the millisecond, and a space.
std::string stamp() {
    timeval now{};
    ::gettimeofday(&now, nullptr);
    std::tm parts{};
    if (::localtime_r(&now.tv_sec, &parts) == nullptr) return {};
    std::array<char, 40> text{};
    const std::size_t size = std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S", &parts);
    std::snprintf(text.data() + size, text.size() - size, ".%03d ", static_cast<int>(now.tv_usec / 1000));
    return text.data();
}

// What a peer sent may stand in a line: it must not begin a new one.
std::string in_one_line(std::string line) {
    for (char& c : line) {
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
    }
    return line;
}

} // namespace

Result<LogLevel> parse_log_level(std::string_view text) {
    if (text == "debug") return LogLevel::kDebug;
    if (text == "info") return LogLevel::kInfo;
    if (text == "warn") return LogLevel::kWarn;
    if (text == "error") return LogLevel::kError;
    return fail(Code::kConfig, "not a log level", "use debug, info, warn or error");
}

void set_up_log(LogLevel level, LogStamps stamps) {
    least = level;
    stamps_by = stamps;
}

void hand_log_to(LogSink taker) {
    sink = std::move(taker);
}

void log(LogLevel level, const std::string& line) {
    if (level < least) return;
    if (sink) return sink(level, line);
    std::string whole = stamps_by == LogStamps::kOwn ? stamp() : std::string();
    whole += word_of(level) + in_one_line(line) + '\n';
    (void)!::write(STDERR_FILENO, whole.data(), whole.size()); // no log is no reason to let nobody in
}

} // namespace latchkey::agent
