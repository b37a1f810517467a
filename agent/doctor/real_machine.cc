// SPDX-License-Identifier: Apache-2.0
#include "agent/doctor/real_machine.h"

#include <dirent.h>
#include <fcntl.h>
#include <glob.h>
#include <pwd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "agent/doctor/run_program.h"
#include "agent/hub_link/tls_stream.h"
#include "agent/run/ask_status.h"
#include "core/posix/file.h"

namespace latchkey::agent::doctor {
namespace {

constexpr std::size_t kMaxFile = 4 * 1024 * 1024;
constexpr std::size_t kMaxProcFile = 64 * 1024;
constexpr std::string_view kFolderMark = "@FOLDER@";
constexpr const char* kLock = "/run/latchkey-doctor.lock";
constexpr const char* kTrial = "/run/latchkey-doctor-trial.";

Failure failure(const std::string& what, const std::string& path) {
    const int cause = errno;
    Code code = Code::kIo;
    if (cause == ENOENT || cause == ENOTDIR) code = Code::kNotFound;
    if (cause == EACCES || cause == EPERM) code = Code::kRefused;
    return fail(code, "cannot " + what + " " + path + ": " + std::strerror(cause));
}

// By read(), not by size: files of /proc and /sys have none.
Result<std::string> read_up_to(const std::string& path, std::size_t limit) {
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (!fd) return failure("open", path);
    struct stat facts {};
    if (::fstat(fd.get(), &facts) != 0) return failure("look at", path);
    if (!S_ISREG(facts.st_mode)) return fail(Code::kIo, "not a regular file: " + path);
    std::string text;
    std::array<char, 16384> chunk;
    while (true) {
        const ssize_t got = ::read(fd.get(), chunk.data(), chunk.size());
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return failure("read", path);
        if (got == 0) return text;
        text.append(chunk.data(), static_cast<std::size_t>(got));
        if (text.size() > limit) return fail(Code::kTooLarge, path + " is larger than we read");
    }
}

std::string link_of(const std::string& path) {
    std::array<char, PATH_MAX> target{};
    const ssize_t size = ::readlink(path.c_str(), target.data(), target.size());
    return size > 0 ? std::string(target.data(), static_cast<std::size_t>(size)) : std::string();
}

// A machine that hosts containers sees their sshds: those are not ours.
bool is_elsewhere(const std::string& folder) {
    const std::string theirs = link_of(folder + "/ns/pid");
    return !theirs.empty() && theirs != link_of("/proc/self/ns/pid");
}

std::optional<ProcessSeen> see(const std::string& pid_text) {
    const std::string folder = "/proc/" + pid_text;
    struct stat facts {};
    if (::stat(folder.c_str(), &facts) != 0 || is_elsewhere(folder)) return std::nullopt;
    ProcessSeen seen;
    seen.pid = static_cast<pid_t>(std::strtol(pid_text.c_str(), nullptr, 10));
    seen.user = facts.st_uid;
    const auto stat_text = read_up_to(folder + "/stat", kMaxProcFile);
    const auto command = read_up_to(folder + "/cmdline", kMaxProcFile);
    if (!stat_text || !command) return std::nullopt;
    const std::size_t open = stat_text->find('(');
    const std::size_t close = stat_text->rfind(')');
    if (open == std::string::npos || close == std::string::npos) return std::nullopt;
    seen.name = stat_text->substr(open + 1, close - open - 1);
    // ") S 123 ": the state, then the parent.
    if (close + 4 < stat_text->size())
        seen.parent = static_cast<pid_t>(std::strtol(stat_text->c_str() + close + 4, nullptr, 10));
    seen.command = *command;
    std::replace(seen.command.begin(), seen.command.end(), '\0', ' ');
    seen.program = link_of(folder + "/exe");
    return seen;
}

std::string filled(std::string text, const std::string& folder) {
    for (std::size_t at = 0; (at = text.find(kFolderMark, at)) != std::string::npos; at += folder.size())
        text.replace(at, kFolderMark.size(), folder);
    return text;
}

} // namespace

RealMachine::~RealMachine() {
    std::error_code ignored;
    for (const auto& folder : staged_) std::filesystem::remove_all(folder, ignored);
}

bool RealMachine::is_root() {
    return ::geteuid() == 0;
}

Result<std::string> RealMachine::read(const std::string& path) {
    return read_up_to(path, kMaxFile);
}

Result<FileFacts> RealMachine::look(const std::string& path) {
    struct stat facts {};
    if (::lstat(path.c_str(), &facts) != 0) return failure("look at", path);
    FileKind kind = FileKind::kOther;
    if (S_ISREG(facts.st_mode)) kind = FileKind::kFile;
    if (S_ISDIR(facts.st_mode)) kind = FileKind::kFolder;
    if (S_ISLNK(facts.st_mode)) kind = FileKind::kLink;
    return FileFacts{kind, facts.st_mode & 07777U, facts.st_uid, facts.st_gid,
                     static_cast<std::uint64_t>(facts.st_size)};
}

Result<std::string> RealMachine::real_path(const std::string& path) {
    const std::unique_ptr<char, CallFree<std::free>> real(::realpath(path.c_str(), nullptr));
    if (!real) return failure("find", path);
    return std::string(real.get());
}

std::vector<std::string> RealMachine::glob(const std::string& pattern) {
    glob_t found{};
    std::vector<std::string> paths;
    if (::glob(pattern.c_str(), 0, nullptr, &found) == 0)
        paths.assign(found.gl_pathv, found.gl_pathv + found.gl_pathc);
    ::globfree(&found);
    return paths;
}

Result<Ran> RealMachine::run(const Words& argv, Micros time_limit) {
    return run_program(argv, time_limit);
}

std::vector<ProcessSeen> RealMachine::processes() {
    std::vector<ProcessSeen> all;
    const UniqueHandle<DIR, ::closedir> folder(::opendir("/proc"));
    if (!folder) return all;
    while (const dirent* entry = ::readdir(folder.get())) {
        if (entry->d_name[0] < '1' || entry->d_name[0] > '9') continue;
        if (auto seen = see(entry->d_name)) all.push_back(*std::move(seen));
    }
    return all;
}

std::optional<uid_t> RealMachine::user_id(const std::string& name) {
    passwd entry{};
    passwd* found = nullptr;
    std::vector<char> buffer(16384);
    if (::getpwnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found) != 0 || found == nullptr)
        return std::nullopt;
    return entry.pw_uid;
}

std::string RealMachine::user_name(uid_t user) {
    passwd entry{};
    passwd* found = nullptr;
    std::vector<char> buffer(16384);
    if (::getpwuid_r(user, &entry, buffer.data(), buffer.size(), &found) != 0 || found == nullptr)
        return std::to_string(user);
    return entry.pw_name;
}

Result<protocol::AgentStatusAnswer> RealMachine::ask_agent(const std::string& socket) {
    return agent::ask_agent(socket);
}

Status RealMachine::greet_broker(const StateFolder& folder, const protocol::BrokerAddress& at,
                                 const Fingerprint& broker_key, Micros time_limit) {
    const auto identity = folder.load_identity();
    if (!identity) return fail(Code::kRefused, identity.error().message);
    const auto tls = make_tls_context(*identity);
    if (!tls) return fail(tls.error());
    Status outcome = fail(Code::kInternal, "the broker was not asked");
    asio::io_context io(1);
    asio::co_spawn(
        io,
        [&]() -> asio::awaitable<void> {
            auto stream = co_await TlsStream::connect(at, broker_key, *tls, time_limit);
            outcome = stream ? Status() : Status(fail(stream.error()));
            if (stream) (*stream)->close();
        },
        [](const std::exception_ptr& /*problem*/) {}); // then the outcome stays a failure
    io.run();
    return outcome;
}

Micros RealMachine::now() {
    return SystemClock().now();
}

void RealMachine::pause(Micros time) {
    ::usleep(static_cast<useconds_t>(time.value));
}

Status RealMachine::write(const std::string& path, const std::string& content, mode_t mode) {
    const auto real = real_path(path);
    if (!real && real.error().code != Code::kNotFound) return fail(real.error());
    return posix::write_file(real ? *real : path, as_bytes(content), mode);
}

Status RealMachine::make_link(const std::string& path, const std::string& target) {
    if (::symlink(target.c_str(), path.c_str()) != 0) return failure("make the link", path);
    return {};
}

Status RealMachine::remove(const std::string& path) {
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) return failure("remove", path);
    return {};
}

Status RealMachine::set_owner_and_mode(const std::string& path, uid_t owner, gid_t group, mode_t mode) {
    if (::lchown(path.c_str(), owner, group) != 0) return failure("change the owner of", path);
    if (::chmod(path.c_str(), mode) != 0) return failure("change the mode of", path);
    return {};
}

Result<std::string> RealMachine::stage(const std::map<std::string, std::string>& files_by_name) {
    std::string name = std::string(kTrial) + "XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) return failure("make the folder", name);
    staged_.emplace_back(name);
    for (const auto& [file, content] : files_by_name) {
        const std::string text = filled(content, name);
        LK_CHECK(posix::write_file(name + "/" + file, as_bytes(text), 0600));
    }
    return name;
}

Status RealMachine::begin_to_mend() {
    lock_.reset(::open(kLock, O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!lock_) return failure("open", kLock);
    if (::flock(lock_.get(), LOCK_EX | LOCK_NB) != 0)
        return fail(Code::kConflict, "another doctor is mending this machine", "wait for it, then try again");
    std::error_code ignored;
    for (const std::string& trial : glob(std::string(kTrial) + "*"))
        std::filesystem::remove_all(trial, ignored);
    return {};
}

Status RealMachine::hang_up(pid_t pid) {
    if (::kill(pid, SIGHUP) != 0) return failure("send SIGHUP to", std::to_string(pid));
    return {};
}

} // namespace latchkey::agent::doctor
