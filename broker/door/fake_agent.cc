// SPDX-License-Identifier: Apache-2.0
#include "broker/door/fake_agent.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>
#include <stdexcept>

#include "core/keys/openssl.h"
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

constexpr std::string_view kApplication = "ssh:";

template <class T>
T must(Result<T> result) {
    if (!result) throw std::runtime_error(result.error().line());
    return *std::move(result);
}

// The plain key's fields under the token's type name, and the application.
Bytes token_blob(keys::KeyType type, const keys::PublicKey& plain) {
    wire::Writer blob;
    blob.string(keys::type_name(type));
    blob.raw(plain.fields());
    blob.string(kApplication);
    return blob.take();
}

} // namespace

FakeAgent::FakeAgent(std::filesystem::path socket, Bytes public_blob, Sign sign)
    : path_(std::move(socket)),
      blob_(std::move(public_blob)),
      sign_(std::move(sign)),
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

FakeAgent::~FakeAgent() {
    const std::uint64_t one = 1;
    (void)!::write(stop_.get(), &one, sizeof one);
    thread_.join();
}

void FakeAgent::serve() {
    for (;;) {
        pollfd entries[2] = {{listener_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
        ::poll(entries, 2, -1);
        if (entries[1].revents != 0) return;
        const UniqueFd caller(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
        if (caller) talk(caller.get());
    }
}

void FakeAgent::talk(int fd) {
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

Bytes FakeAgent::answer(ByteView request) {
    wire::Writer out;
    if (!request.empty() && request[0] == kRequestIdentities) {
        out.u8(kIdentities);
        out.u32(1);
        out.string(blob_);
        out.string("a key of somebody's");
    } else if (!request.empty() && request[0] == kSign) {
        ++signatures_;
        wire::Reader reader(request.subspan(1));
        const auto key = reader.string();
        const auto data = reader.string();
        if (!key || !data) {
            out.u8(kFailure);
            return out.take();
        }
        out.u8(kSigned);
        out.string(sign_(*data));
    } else {
        out.u8(kFailure);
    }
    return out.take();
}

Bytes sign_with_zeros(ByteView) {
    wire::Writer signature;
    signature.string("ssh-ed25519");
    signature.string(Bytes(64, 0));
    return signature.take();
}

SoftwareToken::SoftwareToken(keys::KeyType type)
    : key_(must(keys::PrivateKey::generate(type == keys::KeyType::kSkEd25519 ? keys::KeyType::kEd25519
                                                                             : keys::KeyType::kEcdsa256))),
      public_key_(must(keys::PublicKey::from_blob(token_blob(type, key_.public_key())))) {}

Bytes SoftwareToken::sign(ByteView data) const {
    constexpr std::uint8_t kTouched = 1;
    wire::Writer message;
    message.raw(keys::sha256(as_bytes(kApplication)));
    message.u8(kTouched);
    message.u32(1); // counter
    message.raw(keys::sha256(data));
    const Bytes plain = must(key_.sign(message.bytes()));
    wire::Reader reader(plain);
    (void)must(reader.string()); // the plain algorithm
    wire::Writer signature;
    signature.string(keys::type_name(public_key_.type()));
    signature.string(must(reader.string()));
    signature.u8(kTouched);
    signature.u32(1);
    return signature.take();
}

} // namespace latchkey::door
