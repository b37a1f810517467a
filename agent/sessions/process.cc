// SPDX-License-Identifier: Apache-2.0
#include "agent/sessions/process.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <string_view>

namespace latchkey::agent {
namespace {

Failure cannot_read(const std::string& path, int error) {
    return fail(Code::kIo, "cannot read " + path + ": " + std::strerror(error));
}

// Empty: there is no such process, or it went while we read, or the kernel has no such file.
Result<std::string> read_proc(pid_t pid, const char* name) {
    const auto is_nothing = [](int error) { return error == ENOENT || error == ESRCH; };
    const std::string path = "/proc/" + std::to_string(pid) + "/" + name;
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd && is_nothing(errno)) return std::string();
    if (!fd) return cannot_read(path, errno);
    std::string text;
    std::array<char, 4096> chunk;
    for (;;) {
        const ssize_t got = ::read(fd.get(), chunk.data(), chunk.size());
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 && is_nothing(errno)) return std::string();
        if (got < 0) return cannot_read(path, errno);
        if (got == 0) return text;
        text.append(chunk.data(), static_cast<std::size_t>(got));
    }
}

template <class T>
std::optional<T> number(std::string_view text) {
    T value{};
    const auto end = text.data() + text.size();
    const auto parsed = std::from_chars(text.data(), end, value);
    if (parsed.ec != std::errc() || (parsed.ptr != end && *parsed.ptr != '\n')) return std::nullopt;
    return value;
}

// Field `index` of /proc/PID/stat as proc(5) counts them, 3 being the first after the name.
std::string_view stat_field(std::string_view after_name, int index) {
    for (int i = 3; i < index; ++i) {
        const auto space = after_name.find(' ');
        if (space == std::string_view::npos) return {};
        after_name.remove_prefix(space + 1);
    }
    return after_name.substr(0, after_name.find(' '));
}

// What follows `key` on its line of /proc/PID/status.
std::optional<std::string_view> status_line(std::string_view status, std::string_view key) {
    const auto at = status.find(key);
    if (at == std::string_view::npos) return std::nullopt;
    const std::string_view rest = status.substr(at + key.size());
    return rest.substr(0, rest.find('\n'));
}

// Of exactly that process; nullopt where it is gone.
Result<std::optional<pid_t>> parent_pid_of(const ProcessId& process) {
    const auto facts = facts_of(process.pid);
    if (facts && facts->id == process) return std::optional(facts->parent);
    if (facts || facts.error().code == Code::kNotFound) return std::optional<pid_t>();
    return fail(facts.error());
}

int open_pidfd(pid_t pid) {
    return static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
}

} // namespace

Result<ProcessFacts> facts_of(pid_t pid) {
    LK_TRY(stat, read_proc(pid, "stat"));
    if (stat.empty()) return fail(Code::kNotFound, "no process " + std::to_string(pid));
    const auto strange = [pid] {
        return fail(Code::kIo, "cannot make sense of /proc/" + std::to_string(pid) + "/stat");
    };
    const auto name_end = stat.rfind(')'); // the name may hold anything, this too
    if (name_end == std::string::npos || name_end + 2 >= stat.size()) return strange();
    const std::string_view rest = std::string_view(stat).substr(name_end + 2);
    const auto parent = number<pid_t>(stat_field(rest, 4));
    const auto threads = number<long>(stat_field(rest, 20));
    const auto start = number<std::uint64_t>(stat_field(rest, 22));
    if (!parent || !threads || !start) return strange();
    ProcessFacts facts{ProcessId{pid, *start}, *parent, rest.front(), false};
    facts.is_zombie = facts.state == 'X' || (facts.state == 'Z' && *threads <= 1);
    return facts;
}

Result<std::vector<ProcessFacts>> all_processes() {
    std::vector<ProcessFacts> found;
    const UniqueHandle<DIR, ::closedir> folder(::opendir("/proc"));
    if (!folder) return cannot_read("/proc", errno);
    for (;;) {
        errno = 0; // the end and a failure look alike else
        const dirent* entry = ::readdir(folder.get());
        if (entry == nullptr && errno != 0) return cannot_read("/proc", errno);
        if (entry == nullptr) return found;
        const auto pid = number<pid_t>(entry->d_name);
        if (!pid) continue;
        const auto facts = facts_of(*pid);
        if (facts) {
            found.push_back(*facts);
        } else if (facts.error().code != Code::kNotFound) {
            return fail(facts.error()); // what is left out would count as gone
        }
    }
}

std::string scope_in(std::string_view lines) {
    static constexpr std::string_view before = "/session-";
    static constexpr std::string_view after = ".scope";
    while (!lines.empty()) {
        const std::string_view line = lines.substr(0, lines.find('\n'));
        lines.remove_prefix(std::min(lines.size(), line.size() + 1));
        const auto start = line.find(before);
        if (start == std::string_view::npos) continue;
        std::string_view part = line.substr(start + before.size());
        part = part.substr(0, part.find('/')); // the session may have made cgroups below its own
        if (part.size() > after.size() && part.ends_with(after))
            return std::string(part.substr(0, part.size() - after.size()));
    }
    return {};
}

Result<std::string> scope_of(pid_t pid) {
    LK_TRY(lines, cgroup_lines_of(pid));
    return scope_in(lines);
}

Result<std::string> cgroup_lines_of(pid_t pid) {
    return read_proc(pid, "cgroup");
}

Result<std::optional<std::uint32_t>> audit_session_of(pid_t pid) {
    LK_TRY(text, read_proc(pid, "sessionid"));
    const auto id = number<std::uint32_t>(text);
    return id && *id != UINT32_MAX ? id : std::nullopt;
}

Result<bool> runs_as_its_login(pid_t pid) {
    LK_TRY(login, read_proc(pid, "loginuid"));
    LK_TRY(real_uid, real_uid_of(pid));
    return real_uid && *real_uid != 0 && real_uid == number<uid_t>(login);
}

pid_t newest_process() {
    std::array<char, 128> text{};
    const UniqueFd fd(::open("/proc/loadavg", O_RDONLY | O_CLOEXEC));
    const ssize_t size = fd ? ::read(fd.get(), text.data(), text.size()) : 0;
    if (size <= 0) return 0;
    const std::string_view line(text.data(), static_cast<std::size_t>(size)); // "0.20 0.18 0.12 1/80 11206"
    return number<pid_t>(line.substr(line.rfind(' ') + 1)).value_or(0);
}

Result<std::optional<uid_t>> real_uid_of(pid_t pid) {
    LK_TRY(status, read_proc(pid, "status"));
    const auto line = status_line(status, "\nUid:\t");
    return line ? number<uid_t>(line->substr(0, line->find('\t'))) : std::nullopt;
}

bool is_in_our_namespace(pid_t pid) {
    const std::string status = read_proc(pid, "status").value_or(std::string());
    const auto line = status_line(status, "\nNSpid:\t");
    return line && line->find('\t') == std::string_view::npos; // one pid a namespace, ours first
}

std::string title_of(pid_t pid) {
    std::string words = read_proc(pid, "cmdline").value_or(std::string());
    words.erase(words.find_last_not_of('\0') + 1);
    std::replace(words.begin(), words.end(), '\0', ' ');
    return words;
}

Result<ProcessId> process_of(pid_t pid) {
    LK_TRY(facts, facts_of(pid));
    if (facts.is_zombie) return fail(Code::kNotFound, "no process " + std::to_string(pid));
    return facts.id;
}

bool is_gone(const ProcessId& process, const Result<ProcessId>& now) {
    return now ? *now != process : now.error().code == Code::kNotFound;
}

Result<ProcessId> parent_of(const ProcessId& child) {
    LK_TRY(before, facts_of(child.pid));
    if (before.id != child) return fail(Code::kNotFound, "process " + std::to_string(child.pid) + " is gone");
    LK_TRY(parent, process_of(before.parent));
    // The parent may have died and its pid gone to another in between: then the child has a new parent.
    LK_TRY(after, facts_of(child.pid));
    if (after.id != child || after.parent != before.parent)
        return fail(Code::kNotFound, "process " + std::to_string(child.pid) + " lost its parent");
    return parent;
}

Result<std::string> logind_session_of(const ProcessId& process) {
    LK_TRY(scope, scope_of(process.pid));
    LK_TRY(parent, parent_pid_of(process));
    if (scope.empty() || !parent) return std::string();
    // A server that somebody started by hand in their own session: that scope is not this login's.
    LK_TRY(servers, scope_of(*parent));
    return servers == scope ? std::string() : scope;
}

Result<std::optional<std::uint32_t>> own_audit_session_of(const ProcessId& process) {
    LK_TRY(audit, audit_session_of(process.pid));
    LK_TRY(parent, parent_pid_of(process));
    if (!audit || !parent) return std::optional<std::uint32_t>();
    // A server that somebody started by hand in their own session: that number is not this login's.
    LK_TRY(servers, audit_session_of(*parent));
    return servers == audit ? std::nullopt : audit;
}

Result<HeldProcess> HeldProcess::hold(const ProcessId& id) {
    UniqueFd pidfd(open_pidfd(id.pid));
    if (!pidfd && errno == ESRCH) return fail(Code::kNotFound, "process is gone");
    if (!pidfd) return fail(Code::kIo, std::string("cannot hold a process: ") + std::strerror(errno));
    // Its start time is compared after opening: were this pid another's by now, so would be the start time.
    LK_TRY(facts, facts_of(id.pid));
    if (facts.id != id) return fail(Code::kNotFound, "process is gone");
    HeldProcess held(id, std::move(pidfd));
    if (held.is_gone()) return fail(Code::kNotFound, "process is gone");
    return held;
}

bool HeldProcess::is_gone() const {
    pollfd entry{pidfd_.get(), POLLIN, 0};
    return ::poll(&entry, 1, 0) > 0;
}

void HeldProcess::send(int signal) const {
    static_cast<void>(::syscall(SYS_pidfd_send_signal, pidfd_.get(), signal, nullptr, 0)); // ESRCH: gone
}

bool wait_until_gone(std::span<const HeldProcess> processes, const posix::Deadline& deadline) {
    for (const HeldProcess& process : processes) {
        for (;;) {
            pollfd entry{process.pidfd_.get(), POLLIN, 0};
            const int ready = ::poll(&entry, 1, deadline.poll_millis());
            if (ready > 0) break;
            if (ready == 0 && deadline.passed()) return false;
        }
    }
    return true;
}

Status signal_process(const ProcessId& id, int signal) {
    LK_TRY(held, HeldProcess::hold(id));
    held.send(signal);
    return {};
}

void wait_for_some(std::span<const ProcessId> processes, const posix::Deadline& deadline) {
    std::vector<HeldProcess> held;
    for (const ProcessId& id : processes.first(std::min(processes.size(), kHeldAtOnce))) {
        if (auto process = HeldProcess::hold(id)) held.push_back(*std::move(process));
    }
    if (held.empty()) ::poll(nullptr, 0, 1);
    wait_until_gone(held, deadline);
}

} // namespace latchkey::agent
