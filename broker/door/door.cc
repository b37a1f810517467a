// SPDX-License-Identifier: Apache-2.0
#include "broker/door/door.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <exception>
#include <utility>

#include "broker/listen/address_group.h"

namespace latchkey::door {
namespace {

constexpr int kBacklog = 1024;
constexpr int kAcceptsAtOnce = 64;
constexpr int kTickMillis = 100; // while somebody waits
constexpr std::size_t kTurnsLookedAt = 16;
constexpr std::size_t kThreadsKept = 16; // of those that nobody needs at the moment
// What epoll tells us of: these two, the listeners, and from here on the lobby's visitors.
constexpr std::uint64_t kStop = 0;
constexpr std::uint64_t kWake = 1;
constexpr std::uint64_t kFirstListener = 2;
constexpr std::uint64_t kFirstVisitor = 1 << 16;
constexpr int kPauseMillis = 100; // where accept fails for want of descriptors or threads
constexpr std::string_view kFull = "Too many connections; try again later.\r\n";

// Not the clock of the parts: sockets and threads keep real time.
Micros real_now() {
    using std::chrono::microseconds;
    const auto since_boot = std::chrono::steady_clock::now().time_since_epoch();
    return Micros{std::chrono::duration_cast<microseconds>(since_boot).count()};
}

void ring(const UniqueFd& bell) {
    const std::uint64_t one = 1;
    (void)!::write(bell.get(), &one, sizeof one);
}

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
      stop_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      admission_(settings_.admission, {.on_free =
                                           [this] {
                                               if (has_waiting_) ring(wake_);
                                           }}),
      lobby_(settings_.waiting),
      crew_("lk-door", kThreadsKept) {}

Result<std::unique_ptr<Door>> Door::start(Parts parts, Settings settings) {
    std::unique_ptr<Door> door(new Door(std::move(parts), std::move(settings)));
    if (!door->stop_ || !door->wake_ || !door->epoll_) {
        return system_failure(Code::kIo, "cannot make an eventfd");
    }
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
    if (stop_) ring(stop_);
    if (acceptor_.joinable()) acceptor_.join();
    crew_.stop();
    while (lobby_.next([](const Visitor&) { return true; })) {
    }
    listeners_.clear();
}

Status Door::bind() {
    for (const std::string& address : settings_.listen) {
        LK_TRY(fd, listen_on(address));
        listeners_.push_back(std::move(fd));
    }
    if (listeners_.empty()) return fail(Code::kConfig, "the door has no address to listen on");
    LK_CHECK(watch(stop_.get(), kStop, EPOLLIN));
    LK_CHECK(watch(wake_.get(), kWake, EPOLLIN));
    for (std::size_t i = 0; i < listeners_.size(); ++i) {
        LK_CHECK(watch(listeners_[i].get(), kFirstListener + i, EPOLLIN));
    }
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
    figures_.describe(registry, admission_);
}

void Door::log(LogLevel level, std::string_view line) const {
    if (parts_.log) parts_.log(level, line);
}

Status Door::watch(int fd, std::uint64_t what, std::uint32_t events) {
    epoll_event event{};
    event.events = events;
    event.data.u64 = what;
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0) return {};
    return system_failure(Code::kIo, "cannot watch a socket");
}

void Door::accept_loop() {
    std::array<epoll_event, 64> events{};
    for (;;) {
        const int ready = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()),
                                       lobby_.is_empty() ? -1 : kTickMillis);
        if (ready < 0 && errno != EINTR) return log(LogLevel::kError, "door wait failed");
        for (int i = 0; i < ready; ++i) {
            const epoll_event& event = events[static_cast<std::size_t>(i)];
            const std::uint64_t what = event.data.u64;
            if (what == kStop) return;
            if (what == kWake) {
                std::uint64_t ignored = 0;
                (void)!::read(wake_.get(), &ignored, sizeof ignored);
            } else if (what < kFirstVisitor) {
                accept_from(listeners_[what - kFirstListener].get());
            } else {
                heard_from(what - kFirstVisitor, event.events);
            }
        }
        while (auto late = lobby_.late(real_now() - settings_.login_grace)) {
            send_away(std::move(*late), Refusal::kWaitedTooLong);
        }
        has_waiting_ =
            !lobby_.is_empty(); // before it is looked for: a place that comes free after that rings
        seat_visitors();
        has_waiting_ = !lobby_.is_empty();
        figures_.in_lobby.set(static_cast<std::int64_t>(lobby_.size()));
    }
}

// A few at a time: those who wait are not forgotten over a flood.
void Door::accept_from(int listener) {
    for (int i = 0; i < kAcceptsAtOnce; ++i) {
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
        figures_.connections.add();
        const int on = 1;
        ::setsockopt(socket.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
        ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        const int fd = socket.get();
        Visitor visitor;
        visitor.socket = std::move(socket);
        visitor.address = address_text(peer);
        visitor.group = address_group(peer);
        visitor.since = real_now();
        visitor.is_regular = admission_.is_regular(visitor.group);
        Lobby::Entered entered = lobby_.enter(std::move(visitor));
        const bool has_stayed = !entered.sent_away || entered.sent_away->id != entered.id;
        if (entered.sent_away) send_away(std::move(*entered.sent_away), Refusal::kLobbyFull);
        if (has_stayed && !watch(fd, kFirstVisitor + entered.id, EPOLLIN | EPOLLRDHUP | EPOLLONESHOT)) {
            (void)lobby_.leave(entered.id);
        }
    }
}

void Door::heard_from(std::uint64_t visitor, std::uint32_t events) {
    if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) == 0) return lobby_.spoke(visitor);
    if (lobby_.leave(visitor)) figures_.refuse(Refusal::kLeft);
}

void Door::send_away(Visitor visitor, Refusal why) {
    figures_.refuse(why);
    (void)!::send(visitor.socket.get(), kFull.data(), kFull.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
}

// As many as have a place. For the next ones room is made, one place a round: its end wakes us again.
void Door::seat_visitors() {
    const auto may_enter = [this](const Visitor& one) {
        return admission_.has_place(one.group, one.has_spoken);
    };
    while (auto visitor = lobby_.next(may_enter)) {
        ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, visitor->socket.get(), nullptr); // our copy may outlive it
        auto ticket = admission_.admit(visitor->group, visitor->socket.get(), real_now());
        if (ticket) seat(std::move(*visitor), std::move(*ticket));
    }
    for (const Lobby::Turn& turn : lobby_.turns(kTurnsLookedAt)) {
        if (!admission_.cut_for(turn.group, turn.has_spoken, real_now())) continue;
        figures_.refuse(Refusal::kCut);
        return;
    }
}

void Door::seat(Visitor visitor, Admission::Ticket ticket) {
    figures_.waiting.observe(std::chrono::microseconds((real_now() - visitor.since).value));
    struct Guest {
        UniqueFd socket;
        std::string address;
        Admission::Ticket ticket;
    };
    auto guest = std::make_shared<Guest>(
        Guest{std::move(visitor.socket), std::move(visitor.address), std::move(ticket)});
    const Status seated = crew_.run([this, guest] {
        try {
            serve(std::move(guest->socket), guest->address, std::move(guest->ticket));
        } catch (const std::exception& error) {
            log(LogLevel::kError, std::string("door serve failed: ") + error.what());
        } catch (...) {
            log(LogLevel::kError, "door serve failed");
        }
    });
    if (seated) return;
    figures_.refuse(Refusal::kNoThread);
    log(LogLevel::kError, "door " + seated.error().line());
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
    const auto began = std::chrono::steady_clock::now();
    LoginDialogue login(*transport, {parts_.ledger, parts_.factors, parts_.clock, parts_.strength}, ticket,
                        from, settings_.login);
    auto caller = login.run(posix::Deadline::after(settings_.login_grace));
    if (caller && !ticket.logged_in(caller->name.str(), caller->fingerprint.str())) {
        caller = fail(Code::kRefused, "too many connections of this key or account are open",
                      "close some of them, or come with another key");
    }
    figures_.end_login(caller ? nullptr : &caller.error());
    if (!caller) {
        Error error = std::move(caller).error();
        if (error.code == Code::kTimedOut) error = {Code::kTimedOut, "login took too long", "connect again"};
        transport->disconnect(error.line());
        return;
    }
    figures_.logging_in.observe(std::chrono::steady_clock::now() - began);
    log(LogLevel::kInfo,
        "login user=" + caller->name.str() + " key=" + caller->fingerprint.str() + " from=" + from);
    const Error end =
        Conversation(*transport, *caller, parts_.handler, settings_.conversation, figures_.commands).run();
    transport->disconnect(end.code == Code::kTimedOut ? "idle for too long" : end.line());
}

} // namespace latchkey::door
