// SPDX-License-Identifier: Apache-2.0
#include "agent/sessions/bus_probe.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string>
#include <string_view>

namespace latchkey::agent {
namespace {

constexpr std::string_view kDefaultAddress = "unix:path=/run/dbus/system_bus_socket";

// The first of the addresses, where it is a path that needs no unescaping; else empty.
std::string socket_path() {
    const char* given = std::getenv("DBUS_SYSTEM_BUS_ADDRESS");
    std::string_view address = given != nullptr ? std::string_view(given) : kDefaultAddress;
    static constexpr std::string_view prefix = "unix:path=";
    if (!address.starts_with(prefix)) return {};
    address.remove_prefix(prefix.size());
    address = address.substr(0, address.find_first_of(",;"));
    return address.find('%') == std::string_view::npos ? std::string(address) : std::string();
}

// SASL as D-Bus has it: a zero byte, then our uid as hexadecimal digits of its decimal ones.
std::string first_words() {
    std::string words(1, '\0');
    words += "AUTH EXTERNAL ";
    for (const char digit : std::to_string(::geteuid())) {
        words += '3';
        words += digit;
    }
    return words + "\r\n";
}

} // namespace

Status find_system_bus() {
    const std::string path = socket_path();
    struct stat facts {};
    if (path.empty() || ::stat(path.c_str(), &facts) == 0 || errno != ENOENT) return {};
    return fail(Code::kNotFound, "D-Bus: no such file: " + path);
}

Status probe_system_bus(const posix::Deadline& deadline) {
    const std::string path = socket_path();
    if (path.empty()) return {};
    LK_TRY(stream, posix::Stream::connect_unix(path, deadline));
    LK_CHECK(stream.send(as_bytes(first_words()), deadline));
    while (!deadline.passed()) {
        pollfd entry{stream.fd(), POLLIN, 0};
        if (::poll(&entry, 1, deadline.poll_millis()) <= 0) continue; // time is up, or a signal came
        char byte = 0;
        const ssize_t got = ::recv(stream.fd(), &byte, 1, MSG_DONTWAIT);
        if (got == 1) return {};
        if (got == 0 || (errno != EINTR && errno != EAGAIN))
            return fail(Code::kUnavailable, "the system bus closes the connection");
    }
    return fail(Code::kTimedOut, "the system bus does not answer");
}

} // namespace latchkey::agent
