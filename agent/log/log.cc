// SPDX-License-Identifier: Apache-2.0
#include "agent/log/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>

namespace latchkey::agent {
namespace {

spdlog::level::level_enum to_spdlog(LogLevel level) {
    switch (level) {
        case LogLevel::kDebug:
            return spdlog::level::debug;
        case LogLevel::kInfo:
            return spdlog::level::info;
        case LogLevel::kWarn:
            return spdlog::level::warn;
        case LogLevel::kError:
            return spdlog::level::err;
    }
    return spdlog::level::err;
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
    try {
        auto logger = std::make_shared<spdlog::logger>("latchkey-agent",
                                                       std::make_shared<spdlog::sinks::stderr_sink_mt>());
        logger->set_pattern(stamps == LogStamps::kOwn ? "%Y-%m-%dT%H:%M:%S.%e %l %v" : "%l %v");
        logger->set_level(to_spdlog(level));
        spdlog::set_default_logger(std::move(logger));
    } catch (...) { // no log is no reason to let nobody in
    }
}

void log(LogLevel level, const std::string& line) {
    try {
        auto* logger = spdlog::default_logger_raw();
        if (logger != nullptr && logger->should_log(to_spdlog(level)))
            logger->log(to_spdlog(level), "{}", in_one_line(line));
    } catch (...) {
    }
}

} // namespace latchkey::agent
