// SPDX-License-Identifier: Apache-2.0
#include "broker/metrics/process.h"

#include <sys/resource.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace latchkey::metrics {
namespace {

// proc(5), counted from 1: the fields of /proc/self/stat.
constexpr std::size_t kThreads = 20;
constexpr std::size_t kStartTime = 22; // ticks since the boot
constexpr std::size_t kVirtualBytes = 23;
constexpr std::size_t kResidentPages = 24;

double field_of_stat(std::size_t field) {
    std::ifstream file("/proc/self/stat");
    std::string text;
    std::getline(file, text);
    const auto end_of_name = text.rfind(") "); // field 2, which may hold blanks
    if (end_of_name == std::string::npos) return NAN;
    std::istringstream words(text.substr(end_of_name + 2)); // from field 3 on
    std::string word;
    for (std::size_t i = 3; i <= field; ++i) words >> word;
    char* end = nullptr;
    const double value = std::strtod(word.c_str(), &end);
    return words && end != word.c_str() ? value : NAN;
}

double boot_time() {
    std::ifstream file("/proc/stat");
    for (std::string word; file >> word;) {
        double seconds = 0;
        if (word == "btime" && file >> seconds) return seconds;
    }
    return NAN;
}

double ticks_a_second() {
    return static_cast<double>(::sysconf(_SC_CLK_TCK));
}

double cpu_seconds() {
    rusage used{};
    if (::getrusage(RUSAGE_SELF, &used) != 0) return NAN;
    const auto seconds = [](const timeval& time) {
        return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
    };
    return seconds(used.ru_utime) + seconds(used.ru_stime);
}

double open_descriptors() {
    std::error_code error;
    double count = -1; // the one that looks
    for (std::filesystem::directory_iterator entry("/proc/self/fd", error), end; !error && entry != end;
         entry.increment(error)) {
        ++count;
    }
    return error ? NAN : count;
}

double most_descriptors() {
    rlimit limit{};
    return ::getrlimit(RLIMIT_NOFILE, &limit) == 0 ? static_cast<double>(limit.rlim_cur) : NAN;
}

} // namespace

void add_process(Registry& registry) {
    registry.add_counter("process_cpu_seconds_total", "User and system time of the process.", cpu_seconds);
    registry.add_gauge("process_open_fds", "Open file descriptors.", open_descriptors);
    registry.add_gauge("process_max_fds", "Most file descriptors that may be open.", most_descriptors);
    registry.add_gauge("process_resident_memory_bytes", "Resident memory.", [] {
        return field_of_stat(kResidentPages) * static_cast<double>(::sysconf(_SC_PAGESIZE));
    });
    registry.add_gauge("process_virtual_memory_bytes", "Virtual memory.",
                       [] { return field_of_stat(kVirtualBytes); });
    registry.add_gauge("process_threads", "Threads.", [] { return field_of_stat(kThreads); });
    registry.add_gauge("process_start_time_seconds", "When the process began, since 1970 in UTC.",
                       [] { return boot_time() + field_of_stat(kStartTime) / ticks_a_second(); });
}

void add_build(Registry& registry, const std::string& version) {
    registry.add_gauge("latchkey_build_info", "Always 1: its labels name the build.", [] { return 1.0; },
                       {{"version", version}, {"compiler", __VERSION__}});
}

} // namespace latchkey::metrics
