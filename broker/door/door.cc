// SPDX-License-Identifier: Apache-2.0
#include "broker/door/door.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <exception>
#include <utility>

namespace latchkey::door {
namespace {

constexpr int kBacklog = 256;
constexpr int kPauseMillis = 100; // where accept fails for want of descriptors or threads
constexpr std::string_view kFull = "Too many connections; try again later.\r\n";

Failure system_failure(Code code, const std::string& what) {
    return fail(code, what + ": " + std::strerror(errno));
}

Result<std::pair<sockaddr_storage, socklen_t>> parse_address(const std::string& text) {
    const std::size_t colon = text.rfind(':');
    if (colon == std::string::npos) return fail(Code::kConfig, "no port in " + text, "write address:port");
    std::string host = text.substr(0, colon);
    const std::string digits = text.substr(colon + 1);
    if (digits.empty() || digits.size() > 5 || digits.find_first_not_of("0123456789") != std::string::npos) {
        return fail(Code::kConfig, "bad port in " + text, "write address:port");
    }
    const unsigned long port = std::stoul(digits);
    if (port > 65535) return fail(Code::kConfig, "bad port in " + text, "write address:port");
    const bool is_bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
    if (is_bracketed) host = host.substr(1, host.size() - 2);
    sockaddr_storage storage{};
    sockaddr_in6 v6{};
    sockaddr_in v4{};
    if (is_bracketed && inet_pton(AF_INET6, host.c_str(), &v6.sin6_addr) == 1) {
        v6.sin6_family = AF_INET6;
        v6.sin6_port = htons(static_cast<std::uint16_t>(port));
        std::memcpy(&storage, &v6, sizeof v6);
        return std::pair<sockaddr_storage, socklen_t>(storage, sizeof v6);
    }
    if (!is_bracketed && inet_pton(AF_INET, host.c_str(), &v4.sin_addr) == 1) {
        v4.sin_family = AF_INET;
        v4.sin_port = htons(static_cast<std::uint16_t>(port));
        std::memcpy(&storage, &v4, sizeof v4);
        return std::pair<sockaddr_storage, socklen_t>(storage, sizeof v4);
    }
    return fail(Code::kConfig, "no IP address in " + text, "write 0.0.0.0:2222 or [::]:2222");
}

Result<UniqueFd> listen_on(const std::string& text) {
    LK_TRY(address, parse_address(text));
    UniqueFd fd(::socket(address.first.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd) return system_failure(Code::kIo, "cannot make a socket");
    const int on = 1;
    ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    // So that 0.0.0.0 and [::] can stand side by side.
    if (address.first.ss_family == AF_INET6) {
        ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    }
    if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address.first), address.second) != 0) {
        return system_failure(Code::kIo, "cannot bind " + text);
    }
    if (::listen(fd.get(), kBacklog) != 0) return system_failure(Code::kIo, "cannot listen on " + text);
    return fd;
}

} // namespace

Door::Door(Parts parts, Settings settings)
    : parts_(std::move(parts)),
      settings_(std::move(settings)),
      host_key_(parts_.identity),
      admission_(settings_.admission),
      stop_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

Result<std::unique_ptr<Door>> Door::start(Parts parts, Settings settings) {
    std::unique_ptr<Door> door(new Door(std::move(parts), std::move(settings)));
    if (!door->stop_) return system_failure(Code::kIo, "cannot make an eventfd");
    LK_CHECK(door->bind());
    LK_TRY(tried, door->host_key_.borrow()); // a key that libssh cannot take is found at the start
    (void)tried;
    door->acceptor_ = std::thread([raw = door.get()] {
        pthread_setname_np(pthread_self(), "lk-door");
        raw->accept_loop();
    });
    return door;
}

Door::~Door() {
    stop();
}

void Door::stop() {
    const std::uint64_t one = 1;
    if (stop_) (void)!::write(stop_.get(), &one, sizeof one);
    if (acceptor_.joinable()) acceptor_.join();
    for (Guest& guest : guests_) guest.thread.join();
    guests_.clear();
    listeners_.clear();
}

Status Door::bind() {
    for (const std::string& address : settings_.listen) {
        LK_TRY(fd, listen_on(address));
        listeners_.push_back(std::move(fd));
    }
    if (listeners_.empty()) return fail(Code::kConfig, "the door has no address to listen on");
    return {};
}

std::uint16_t Door::port() const {
    if (listeners_.empty()) return 0;
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    if (::getsockname(listeners_.front().get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
    sockaddr_in v4{};
    std::memcpy(&v4, &address, sizeof v4); // the port stands at the same place for IPv6
    return ntohs(v4.sin_port);
}

void Door::describe(metrics::Registry& registry) const {
    registry.add("latchkey_door_connections_total", "Connections that people opened.", counts_.connections);
}

void Door::log(LogLevel level, std::string_view line) const {
    if (parts_.log) parts_.log(level, line);
}

void Door::accept_loop() {
    std::vector<pollfd> entries;
    for (const UniqueFd& listener : listeners_) entries.push_back({listener.get(), POLLIN, 0});
    entries.push_back({stop_.get(), POLLIN, 0});
    for (;;) {
        const int ready = ::poll(entries.data(), entries.size(), -1);
        if (ready < 0 && errno != EINTR) return log(LogLevel::kError, "door poll failed");
        if (entries.back().revents != 0) return;
        reap();
        for (std::size_t i = 0; i + 1 < entries.size(); ++i) {
            if (ready > 0 && entries[i].revents != 0) accept_one(entries[i].fd);
        }
    }
}

void Door::accept_one(int listener) {
    sockaddr_storage peer{};
    socklen_t size = sizeof peer;
    // Non-blocking from the start: libssh leaves the flag as it is.
    UniqueFd socket(
        ::accept4(listener, reinterpret_cast<sockaddr*>(&peer), &size, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!socket) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            pollfd stop{stop_.get(), POLLIN, 0};
            ::poll(&stop, 1, kPauseMillis);
        }
        return;
    }
    counts_.connections.add();
    auto ticket = admission_.admit(address_group(peer));
    if (!ticket) {
        (void)!::send(socket.get(), kFull.data(), kFull.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
        return;
    }
    const int on = 1;
    ::setsockopt(socket.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    Guest& guest = guests_.emplace_back();
    const std::string name = "lk-door-" + std::to_string(next_guest_++ % 1'000'000);
    try {
        guest.thread = std::thread([this, &guest, name, from = address_text(peer), fd = std::move(socket),
                                    held = std::move(*ticket)]() mutable {
            pthread_setname_np(pthread_self(), name.c_str());
            try {
                serve(std::move(fd), from, std::move(held));
            } catch (const std::exception& error) {
                log(LogLevel::kError, std::string("door serve failed: ") + error.what());
            } catch (...) {
                log(LogLevel::kError, "door serve failed");
            }
            guest.is_done = true;
        });
    } catch (const std::exception&) { // no thread to be had
        guests_.pop_back();
        log(LogLevel::kError, "door cannot start a thread");
    }
}

void Door::reap() {
    guests_.remove_if([](Guest& guest) {
        if (!guest.is_done) return false;
        guest.thread.join();
        return true;
    });
}

void Door::serve(UniqueFd socket, const std::string& from, Admission::Ticket ticket) {
    std::unique_ptr<Transport> transport;
    {
        auto bind = host_key_.borrow();
        if (!bind) return log(LogLevel::kError, bind.error().line());
        auto accepted = Transport::accept(bind->get(), std::move(socket), stop_.get(), settings_.transport);
        if (!accepted) return;
        transport = std::move(*accepted);
    }
    LoginDialogue login(*transport, {parts_.ledger, parts_.factors, parts_.clock, parts_.strength}, from,
                        settings_.login);
    auto caller = login.run(posix::Deadline::after(settings_.login_grace));
    if (!caller) {
        Error error = std::move(caller).error();
        if (error.code == Code::kTimedOut) error = {Code::kTimedOut, "login took too long", "connect again"};
        transport->disconnect(error.line());
        return;
    }
    ticket.logged_in();
    log(LogLevel::kInfo,
        "login user=" + caller->name.str() + " key=" + caller->fingerprint.str() + " from=" + from);
    const Error end = Conversation(*transport, *caller, parts_.handler, settings_.conversation).run();
    transport->disconnect(end.code == Code::kTimedOut ? "idle for too long" : end.line());
}

} // namespace latchkey::door
