// SPDX-License-Identifier: Apache-2.0
#include "core/posix/notify.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>

#include "core/base/unique_handle.h"

namespace latchkey::posix {
namespace {

// sd_notify(3), without its library.
bool notify(std::string_view state) {
    const char* path = std::getenv("NOTIFY_SOCKET");
    if (path == nullptr) return true;
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::size_t size = std::strlen(path);
    if (size < 2 || size >= sizeof address.sun_path) return false;
    std::memcpy(address.sun_path, path, size);
    if (path[0] == '@') address.sun_path[0] = '\0';
    const UniqueFd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + size);
    return fd && ::sendto(fd.get(), state.data(), state.size(), MSG_NOSIGNAL | MSG_DONTWAIT,
                          reinterpret_cast<const sockaddr*>(&address), length) >= 0;
}

} // namespace

bool notify_ready() {
    return notify("READY=1");
}

bool notify_alive() {
    return notify("WATCHDOG=1");
}

} // namespace latchkey::posix
