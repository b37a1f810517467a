// SPDX-License-Identifier: Apache-2.0
#pragma once
// Connections that wait for a place at the door: a socket each and no thread. Addresses take turns, whatever
// each has waiting; those that have spoken come before the silent, and of them those from where somebody
// logged in lately. Bounded: where it is full, the address with the most gives up its oldest. Pure: no
// system call but the close of a socket. One thread.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/base/clock.h"
#include "core/base/unique_handle.h"

namespace latchkey::door {

struct Visitor {
    UniqueFd socket;
    std::string address;
    std::string group; // what takes turns: admission.h
    Micros since;
    bool is_regular = false;
    bool has_spoken = false;
    std::uint64_t id = 0; // the lobby's
};

class Lobby {
public:
    explicit Lobby(std::size_t most) : most_(most) {}

    struct Entered {
        std::uint64_t id = 0;
        std::optional<Visitor> sent_away; // to make room
    };
    Entered enter(Visitor visitor);
    void spoke(std::uint64_t id);
    std::optional<Visitor> leave(std::uint64_t id);
    // Whoever is next of those that may enter.
    std::optional<Visitor> next(const std::function<bool(const Visitor&)>& may_enter);
    struct Turn {
        std::string group;
        bool has_spoken = false;
    };
    std::vector<Turn> turns(std::size_t most) const; // whose turn it is, in that order
    std::optional<Visitor> late(Micros before);      // one that came before that

    std::size_t size() const { return where_.size(); }
    bool is_empty() const { return where_.empty(); }

private:
    using Group = std::list<Visitor>; // the oldest first
    enum class Rank : std::uint8_t { kRegular = 1, kSpoken, kSilent };
    static Rank rank_of(const Visitor& visitor);
    // The first of each group with that rank, in the order of turns; until `look` says true.
    void walk(Rank rank, const std::function<bool(const Visitor&)>& look) const;

    const std::size_t most_;
    std::uint64_t next_id_ = 1;
    std::map<std::string, Group> groups_;
    std::unordered_map<std::uint64_t, Group::iterator> where_;
    std::string last_; // the group that had the last turn
};

} // namespace latchkey::door
