// SPDX-License-Identifier: Apache-2.0
#include "broker/signer/control.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace latchkey::signer {
namespace {

struct Message { // one byte of data and room for one descriptor
    char byte = 'c';
    iovec data{&byte, 1};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
    msghdr header{};

    Message() {
        header.msg_iov = &data;
        header.msg_iovlen = 1;
        header.msg_control = control.data();
        header.msg_controllen = control.size();
    }
    Message(const Message&) = delete;
    Message& operator=(const Message&) = delete;
};

Failure system_failure(Code code, const std::string& what) {
    return fail(code, what + ": " + std::strerror(errno));
}

} // namespace

Result<SocketPair> make_pair(int type) {
    std::array<int, 2> fds{};
    if (::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds.data()) != 0)
        return system_failure(Code::kIo, "cannot make a socket pair");
    return SocketPair{UniqueFd(fds[0]), UniqueFd(fds[1])};
}

Status send_descriptor(int control, int descriptor) {
    Message message;
    cmsghdr* entry = CMSG_FIRSTHDR(&message.header);
    entry->cmsg_level = SOL_SOCKET;
    entry->cmsg_type = SCM_RIGHTS;
    entry->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(entry), &descriptor, sizeof descriptor);
    for (;;) {
        if (::sendmsg(control, &message.header, MSG_NOSIGNAL | MSG_DONTWAIT) == 1) return {};
        if (errno != EINTR) return system_failure(Code::kUnavailable, "the signer takes no connection");
    }
}

Result<UniqueFd> receive_descriptor(int control) {
    for (;;) {
        Message message;
        const ssize_t got = ::recvmsg(control, &message.header, MSG_CMSG_CLOEXEC);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 && errno != ECONNRESET) return system_failure(Code::kIo, "the control socket broke");
        if (got <= 0) return fail(Code::kUnavailable, "the control socket is closed");
        const cmsghdr* entry = CMSG_FIRSTHDR(&message.header);
        if (entry == nullptr || entry->cmsg_level != SOL_SOCKET || entry->cmsg_type != SCM_RIGHTS ||
            entry->cmsg_len != CMSG_LEN(sizeof(int))) {
            continue; // a byte without a descriptor: nothing of ours
        }
        int descriptor = -1;
        std::memcpy(&descriptor, CMSG_DATA(entry), sizeof descriptor);
        return UniqueFd(descriptor);
    }
}

} // namespace latchkey::signer
