// SPDX-License-Identifier: Apache-2.0
#pragma once
// Who has a place at the door. A Ticket is one connection that is being served; it gives its place back at
// its end. Until a connection has proven a registered key it is a stranger's: strangers are counted in all
// and by address (an IPv6 address counts as its /64), and where somebody waits, a stranger that has had its
// time is cut, the longest silent first. Whoever has proven a key is never cut for a stranger; of one key so
// many may be without their second factor at once, and of one key and one account so many may be logged in:
// no login, stolen or not, takes the places of all others. Any thread; outlives its tickets.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>

#include "core/base/clock.h"
#include "core/base/unique_handle.h"

namespace latchkey::door {

// How long the peer has owed us its next word, by the kernel's clocks; 0 where it waits for ours.
Micros silence_of(int socket);

class Admission {
public:
    struct Limits {
        std::size_t connections = 1024;
        std::size_t unauthenticated = 128; // strangers
        std::size_t unauthenticated_per_address = 8;
        std::size_t without_factor_per_key = 16;
        std::size_t logged_in_per_key = 32;
        std::size_t logged_in_per_user = 64; // over all their keys: another key gets in to revoke the first
        // What a stranger may take while others wait: silence, and time in all. A registered key that is
        // shown may have to be touched before it signs.
        Micros silence = from_seconds(2);
        Micros turn = from_seconds(5);
        Micros touch = from_seconds(15);
        std::size_t regulars = 4096; // addresses remembered
    };
    struct Parts {
        std::function<void()> on_free = [] {}; // any thread, after a place came free
        std::function<Micros(int socket)> silence = silence_of;
    };
    explicit Admission(Limits limits) : Admission(limits, Parts()) {}
    Admission(Limits limits, Parts parts) : limits_(limits), parts_(std::move(parts)) {}

    class Ticket {
    public:
        Ticket(Admission& owner, std::uint64_t id, std::string group)
            : owner_(&owner), id_(id), group_(std::move(group)) {}
        Ticket(Ticket&& other) noexcept
            : owner_(std::exchange(other.owner_, nullptr)),
              id_(other.id_),
              group_(std::move(other.group_)),
              user_(std::move(other.user_)),
              key_(std::move(other.key_)),
              is_waiting_for_factor_(other.is_waiting_for_factor_),
              is_logged_in_(other.is_logged_in_) {}
        ~Ticket();
        void named_key();  // a registered key was shown, not proven yet
        void proved_key(); // no stranger any more
        // False where too many of this key are without their factor: end it then.
        bool waits_for_factor(const std::string& key);
        // False where too many of this key or account are logged in: end it then.
        bool logged_in(const std::string& user, const std::string& key);

    private:
        Admission* owner_;
        std::uint64_t id_;
        std::string group_;
        std::string user_;
        std::string key_;
        bool is_waiting_for_factor_ = false;
        bool is_logged_in_ = false;
    };

    // Borrows the socket for as long as it takes to duplicate it.
    std::optional<Ticket> admit(const std::string& group, int socket, Micros now);
    // Whether admit() would say yes. The silent leave half of the strangers' places to those that speak.
    bool has_place(const std::string& group, bool has_spoken) const;
    // Somebody of this group waits for a place: cuts a stranger that is in the way, where one has had its
    // time. Its place comes free once its thread has seen that. True where one was cut.
    bool cut_for(const std::string& group, bool has_spoken, Micros now);
    // Somebody has logged in from there lately.
    bool is_regular(const std::string& group) const;

    std::size_t connections() const;
    std::size_t strangers() const;

private:
    struct Stranger {
        std::string group;
        UniqueFd socket; // of our own, so that it is still that connection when we cut it
        Micros since;
        bool has_named = false;
        bool is_cut = false;
    };
    bool is_over_share(const std::string& group) const;
    bool is_full(bool has_spoken) const;    // of strangers
    void leave_strangers(std::uint64_t id); // under mutex_
    using Counts = std::unordered_map<std::string, std::size_t>;
    static bool is_below(const Counts& counts, const std::string& name, std::size_t limit);
    static void leave(Counts& counts, const std::string& name);
    void remember(const std::string& group);

    const Limits limits_;
    const Parts parts_;
    mutable std::mutex mutex_;
    std::uint64_t next_ = 1;
    std::size_t connections_ = 0;
    std::map<std::uint64_t, Stranger> strangers_;
    Counts by_group_;                 // strangers
    Counts waiting_by_key_;           // without their factor
    Counts by_key_;                   // logged in
    Counts by_user_;                  // the same
    std::list<std::string> regulars_; // the latest first
    std::unordered_map<std::string, std::list<std::string>::iterator> regular_;
};

} // namespace latchkey::door
