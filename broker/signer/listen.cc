// SPDX-License-Identifier: Apache-2.0
// Where the signer's connections come from: a control socket that latchkeyd inherited to us, or a path.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "broker/signer/control.h"
#include "broker/signer/server.h"
#include "core/posix/notify.h"

namespace latchkey::signer {
namespace {

Failure system_failure(const std::string& what) {
    return fail(Code::kIo, what + ": " + std::strerror(errno));
}

} // namespace

Status Server::take_from_control(int control) {
    for (;;) {
        auto connection = receive_descriptor(control);
        if (!connection) {
            if (connection.error().code == Code::kUnavailable) return {}; // latchkeyd is gone: so are we
            return fail(std::move(connection).error());
        }
        add(std::move(*connection));
    }
}

Status Server::take_from_socket(const std::string& path, uid_t allowed) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path)
        return fail(Code::kConfig, "socket path is too long: " + path);
    std::memcpy(address.sun_path, path.data(), path.size());
    const UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!listener) return system_failure("cannot make a socket");
    ::unlink(path.c_str());
    if (::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        ::chmod(path.c_str(), 0666) != 0 || ::listen(listener.get(), 64) != 0) {
        return system_failure("cannot listen at " + path);
    }
    if (!posix::notify_ready())
        note(Error{Code::kUnavailable, "systemd does not hear that we are ready", {}});
    for (;;) {
        UniqueFd connection(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
        if (!connection) {
            if (errno == EINTR || errno == ECONNABORTED) continue;
            if (errno == EMFILE || errno == ENFILE) {
                ::usleep(100'000); // connections end, then there is room again
                continue;
            }
            return system_failure("cannot accept at " + path);
        }
        ucred peer{};
        socklen_t size = sizeof peer;
        if (::getsockopt(connection.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 ||
            (peer.uid != allowed && peer.uid != 0)) {
            note(Error{Code::kRefused, "a connection of another user", {}});
            continue;
        }
        add(std::move(connection));
    }
}

} // namespace latchkey::signer
