// SPDX-License-Identifier: Apache-2.0
// The least that a libssh server can do for `ssh USER@HOST COMMAND`: key exchange with the door's own
// algorithms, any public key whose signature is right, one command that does nothing and ends with 0. One
// login after the other. floor_door ADDRESS PORT; writes "ready" once it listens.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cstdio>
#include <cstdlib>

#include "broker/door/host_key.h"
#include "broker/door/libssh.h"
#include "core/keys/private_key.h"

namespace latchkey::bench {
namespace {

Result<UniqueFd> listen_on(const char* address, int port) {
    UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int on = 1;
    ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in place{};
    place.sin_family = AF_INET;
    place.sin_port = htons(static_cast<std::uint16_t>(port));
    ::inet_pton(AF_INET, address, &place.sin_addr);
    if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&place), sizeof place) != 0 ||
        ::listen(fd.get(), 16) != 0)
        return fail(Code::kIo, "cannot listen");
    return fd;
}

bool is_right_key(ssh_message message) {
    return ssh_message_type(message) == SSH_REQUEST_AUTH &&
           ssh_message_subtype(message) == SSH_AUTH_METHOD_PUBLICKEY &&
           ssh_message_auth_publickey_state(message) == SSH_PUBLICKEY_STATE_VALID;
}

// Answers one message; true once the command has ended.
bool answer(ssh_message message, ssh_channel& channel) {
    const int type = ssh_message_type(message);
    if (type == SSH_REQUEST_SERVICE) {
        ssh_message_service_reply_success(message);
    } else if (is_right_key(message)) {
        ssh_message_auth_reply_success(message, 0);
    } else if (type == SSH_REQUEST_AUTH && ssh_message_subtype(message) == SSH_AUTH_METHOD_PUBLICKEY) {
        ssh_message_auth_reply_pk_ok_simple(message);
    } else if (type == SSH_REQUEST_CHANNEL_OPEN) {
        channel = ssh_message_channel_request_open_reply_accept(message);
    } else if (type == SSH_REQUEST_CHANNEL && ssh_message_subtype(message) == SSH_CHANNEL_REQUEST_EXEC) {
        ssh_message_channel_request_reply_success(message);
        ssh_channel_request_send_exit_status(channel, 0);
        ssh_channel_send_eof(channel);
        ssh_channel_close(channel);
        return true;
    } else {
        ssh_message_reply_default(message);
    }
    return false;
}

void serve(ssh_bind bind, UniqueFd socket) {
    const int on = 1;
    ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    const door::SessionHandle session(ssh_new());
    if (!session || ssh_bind_accept_fd(bind, session.get(), socket.get()) != SSH_OK) return;
    (void)socket.release(); // the session closes it
    ssh_set_auth_methods(session.get(), SSH_AUTH_METHOD_PUBLICKEY);
    if (ssh_handle_key_exchange(session.get()) != SSH_OK) return;
    ssh_channel channel = nullptr; // the session's
    for (bool is_over = false;;) { // until the client leaves
        const door::MessageHandle message(ssh_message_get(session.get()));
        if (!message) return;
        if (!is_over) is_over = answer(message.get(), channel);
    }
}

Status run(const char* address, int port) {
    LK_TRY(key, keys::PrivateKey::generate(keys::KeyType::kEd25519));
    door::HostKey host_key(key);
    LK_TRY(listener, listen_on(address, port));
    std::puts("ready");
    std::fflush(stdout);
    for (;;) {
        UniqueFd socket(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
        if (!socket) continue;
        LK_TRY(bind, host_key.borrow());
        serve(bind.get(), std::move(socket));
    }
}

} // namespace
} // namespace latchkey::bench

int main(int argc, char** argv) {
    if (argc != 3) {
        std::fprintf(stderr, "usage: floor_door ADDRESS PORT\n");
        return 2;
    }
    const auto done = latchkey::bench::run(argv[1], std::atoi(argv[2]));
    std::fprintf(stderr, "floor_door: %s\n", done.error().line().c_str());
    return 1;
}
