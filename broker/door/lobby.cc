// SPDX-License-Identifier: Apache-2.0
#include "broker/door/lobby.h"

#include <algorithm>
#include <utility>

namespace latchkey::door {

Lobby::Rank Lobby::rank_of(const Visitor& visitor) {
    if (!visitor.has_spoken) return Rank::kSilent;
    return visitor.is_regular ? Rank::kRegular : Rank::kSpoken;
}

Lobby::Entered Lobby::enter(Visitor visitor) {
    Entered entered;
    entered.id = visitor.id = next_id_++;
    Group& group = groups_[visitor.group];
    group.push_back(std::move(visitor));
    where_.emplace(entered.id, std::prev(group.end()));
    if (where_.size() <= most_) return entered;
    const auto largest =
        std::ranges::max_element(groups_, {}, [](const auto& entry) { return entry.second.size(); });
    // Somebody silent, if it has one.
    Group& crowd = largest->second;
    const auto silent = std::ranges::find(crowd, false, &Visitor::has_spoken);
    entered.sent_away = leave(silent == crowd.end() ? crowd.front().id : silent->id);
    return entered;
}

void Lobby::spoke(std::uint64_t id) {
    const auto found = where_.find(id);
    if (found != where_.end()) found->second->has_spoken = true;
}

std::optional<Visitor> Lobby::leave(std::uint64_t id) {
    const auto found = where_.find(id);
    if (found == where_.end()) return std::nullopt;
    const auto group = groups_.find(found->second->group);
    Visitor visitor = std::move(*found->second);
    group->second.erase(found->second);
    if (group->second.empty()) groups_.erase(group);
    where_.erase(found);
    return visitor;
}

void Lobby::walk(Rank rank, const std::function<bool(const Visitor&)>& look) const {
    auto turn = groups_.upper_bound(last_);
    for (std::size_t i = 0; i < groups_.size(); ++i, ++turn) {
        if (turn == groups_.end()) turn = groups_.begin();
        const auto found = std::ranges::find(turn->second, rank, rank_of);
        if (found != turn->second.end() && look(*found)) return;
    }
}

std::optional<Visitor> Lobby::next(const std::function<bool(const Visitor&)>& may_enter) {
    for (const Rank rank : {Rank::kRegular, Rank::kSpoken, Rank::kSilent}) {
        std::uint64_t chosen = 0;
        walk(rank, [&](const Visitor& visitor) {
            if (may_enter(visitor)) chosen = visitor.id;
            return chosen != 0;
        });
        auto visitor = leave(chosen);
        if (!visitor) continue;
        last_ = visitor->group;
        return visitor;
    }
    return std::nullopt;
}

std::vector<Lobby::Turn> Lobby::turns(std::size_t most) const {
    std::vector<Turn> turns;
    for (const Rank rank : {Rank::kRegular, Rank::kSpoken, Rank::kSilent}) {
        walk(rank, [&](const Visitor& visitor) {
            if (turns.size() < most) turns.push_back({visitor.group, visitor.has_spoken});
            return turns.size() >= most;
        });
    }
    return turns;
}

std::optional<Visitor> Lobby::late(Micros before) {
    for (const auto& [name, group] : groups_) {
        if (group.front().since < before) return leave(group.front().id);
    }
    return std::nullopt;
}

} // namespace latchkey::door
