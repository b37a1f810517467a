// SPDX-License-Identifier: Apache-2.0
#include "broker/door/lying_agent.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>
#include <stdexcept>

#include "core/wire/reader.h"
#include "core/wire/writer.h"

namespace latchkey::door {
namespace {

constexpr std::uint8_t kRequestIdentities = 11;
constexpr std::uint8_t kIdentities = 12;
constexpr std::uint8_t kSign = 13;
constexpr std::uint8_t kSigned = 14;
constexpr std::uint8_t kFailure = 5;

bool read_all(int fd, std::uint8_t* into, std::size_t size) {
    while (size > 0) {
        const ssize_t got = ::recv(fd, into, size, 0);
        if (got <= 0) return false;
        into += got;
        size -= static_cast<std::size_t>(got);
    }
    return true;
}

} // namespace

LyingAgent::LyingAgent(std::filesystem::path socket, const keys::PublicKey& key)
    : path_(std::move(socket)),
      blob_(key.blob()),
      listener_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)),
      stop_(::eventfd(0, EFD_CLOEXEC)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string text = path_.string();
    std::memcpy(address.sun_path, text.c_str(), text.size());
    if (::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        ::listen(listener_.get(), 4) != 0) {
        throw std::runtime_error("cannot listen on " + text);
    }
    thread_ = std::thread([this] { serve(); });
}

LyingAgent::~LyingAgent() {
    const std::uint64_t one = 1;
    (void)!::write(stop_.get(), &one, sizeof one);
    thread_.join();
}

void LyingAgent::serve() {
    for (;;) {
        pollfd entries[2] = {{listener_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
        ::poll(entries, 2, -1);
        if (entries[1].revents != 0) return;
        const UniqueFd caller(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
        if (caller) talk(caller.get());
    }
}

void LyingAgent::talk(int fd) {
    for (;;) {
        pollfd entries[2] = {{fd, POLLIN, 0}, {stop_.get(), POLLIN, 0}};
        ::poll(entries, 2, -1);
        std::uint8_t head[4];
        if (entries[1].revents != 0 || !read_all(fd, head, sizeof head)) return;
        const std::size_t size = static_cast<std::size_t>(head[2]) << 8 | head[3];
        Bytes request(size);
        if (!read_all(fd, request.data(), size)) return;
        wire::Writer framed;
        framed.string(answer(request));
        if (::send(fd, framed.bytes().data(), framed.bytes().size(), MSG_NOSIGNAL) < 0) return;
    }
}

Bytes LyingAgent::answer(ByteView request) {
    wire::Writer out;
    if (!request.empty() && request[0] == kRequestIdentities) {
        out.u8(kIdentities);
        out.u32(1);
        out.string(blob_);
        out.string("a key of somebody's");
    } else if (!request.empty() && request[0] == kSign) {
        ++signatures_;
        wire::Writer signature;
        signature.string("ssh-ed25519");
        signature.string(Bytes(64, 0));
        out.u8(kSigned);
        out.string(signature.bytes());
    } else {
        out.u8(kFailure);
    }
    return out.take();
}

} // namespace latchkey::door
