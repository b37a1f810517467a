// SPDX-License-Identifier: Apache-2.0
#pragma once
// Who may still connect: counts connections in all, and those that are not logged in yet in all and by
// address (an IPv6 address counts as its /64). A Ticket is one connection; it may be told once that the login
// is done, and gives its place back at its end. Any thread; outlives its tickets.

#include <sys/socket.h>

#include <cstddef>
#include <map>
#include <mutex>
#include <optional>
#include <string>

namespace latchkey::door {

// "192.0.2.1", "2001:db8::1"; empty where the family is another.
std::string address_text(const sockaddr_storage& address);
// What is counted together: the IPv4 address, the IPv6 /64.
std::string address_group(const sockaddr_storage& address);

class Admission {
public:
    struct Limits {
        std::size_t connections = 256;
        std::size_t unauthenticated = 64;
        std::size_t unauthenticated_per_address = 8;
    };
    explicit Admission(Limits limits) : limits_(limits) {}

    class Ticket {
    public:
        Ticket(Admission& owner, std::string group) : owner_(&owner), group_(std::move(group)) {}
        Ticket(Ticket&& other) noexcept
            : owner_(other.owner_), group_(std::move(other.group_)), is_logged_in_(other.is_logged_in_) {
            other.owner_ = nullptr;
        }
        ~Ticket();
        void logged_in();

    private:
        Admission* owner_;
        std::string group_;
        bool is_logged_in_ = false;
    };
    std::optional<Ticket> admit(const std::string& group);

private:
    void leave_unauthenticated(const std::string& group); // under mutex_

    const Limits limits_;
    std::mutex mutex_;
    std::size_t connections_ = 0;
    std::size_t unauthenticated_ = 0;
    std::map<std::string, std::size_t> by_group_;
};

} // namespace latchkey::door
