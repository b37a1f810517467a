// SPDX-License-Identifier: Apache-2.0
#include "broker/door/admission.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace latchkey::door {

Micros silence_of(int socket) {
    tcp_info info{};
    socklen_t size = sizeof info;
    if (::getsockopt(socket, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return {};
    const bool is_our_turn = info.tcpi_last_data_recv < info.tcpi_last_data_sent;
    return is_our_turn ? Micros{} : from_millis(info.tcpi_last_data_sent);
}

bool Admission::is_over_share(const std::string& group) const {
    const auto here = by_group_.find(group);
    return here != by_group_.end() && here->second >= limits_.unauthenticated_per_address;
}

bool Admission::is_full(bool has_spoken) const {
    return strangers_.size() >= limits_.unauthenticated ||
           (!has_spoken && strangers_.size() * 2 > limits_.unauthenticated);
}

bool Admission::has_place(const std::string& group, bool has_spoken) const {
    const std::lock_guard lock(mutex_);
    return connections_ < limits_.connections && !is_full(has_spoken) && !is_over_share(group);
}

std::optional<Admission::Ticket> Admission::admit(const std::string& group, int socket, Micros now) {
    UniqueFd own(::fcntl(socket, F_DUPFD_CLOEXEC, 0));
    const std::lock_guard lock(mutex_);
    if (connections_ >= limits_.connections || is_full(true) || is_over_share(group)) return std::nullopt;
    ++connections_;
    ++by_group_[group];
    const std::uint64_t id = next_++;
    strangers_.emplace(id, Stranger{group, std::move(own), now});
    return Ticket(*this, id, group);
}

bool Admission::cut_for(const std::string& group, bool has_spoken, Micros now) {
    const std::lock_guard lock(mutex_);
    const bool is_by_its_own = is_over_share(group);
    if (!is_by_its_own && !is_full(has_spoken)) return false; // no stranger is in the way
    Stranger* longest = nullptr;
    Micros longest_silence;
    for (auto& [id, one] : strangers_) {
        if (one.is_cut || (is_by_its_own && one.group != group)) continue;
        const Micros silence = parts_.silence(one.socket.get());
        const Micros age = now - one.since;
        const bool has_had_its_time =
            one.has_named ? age > limits_.touch : silence > limits_.silence || age > limits_.turn;
        if (!has_had_its_time || (longest != nullptr && silence <= longest_silence)) continue;
        longest = &one;
        longest_silence = silence;
    }
    if (longest == nullptr) return false;
    longest->is_cut = true;
    ::shutdown(longest->socket.get(), SHUT_RDWR);
    return true;
}

bool Admission::is_regular(const std::string& group) const {
    const std::lock_guard lock(mutex_);
    return regular_.contains(group);
}

std::size_t Admission::connections() const {
    const std::lock_guard lock(mutex_);
    return connections_;
}

std::size_t Admission::strangers() const {
    const std::lock_guard lock(mutex_);
    return strangers_.size();
}

void Admission::leave_strangers(std::uint64_t id) {
    const auto found = strangers_.find(id);
    if (found == strangers_.end()) return;
    leave(by_group_, found->second.group);
    strangers_.erase(found);
}

bool Admission::is_below(const Counts& counts, const std::string& name, std::size_t limit) {
    const auto found = counts.find(name);
    return (found == counts.end() ? 0 : found->second) < limit;
}

void Admission::leave(Counts& counts, const std::string& name) {
    const auto found = counts.find(name);
    if (found != counts.end() && --found->second == 0) counts.erase(found);
}

void Admission::remember(const std::string& group) {
    if (const auto known = regular_.find(group); known != regular_.end()) regulars_.erase(known->second);
    regulars_.push_front(group);
    regular_[group] = regulars_.begin();
    if (regulars_.size() <= limits_.regulars) return;
    regular_.erase(regulars_.back());
    regulars_.pop_back();
}

void Admission::Ticket::named_key() {
    const std::lock_guard lock(owner_->mutex_);
    const auto found = owner_->strangers_.find(id_);
    if (found != owner_->strangers_.end()) found->second.has_named = true;
}

void Admission::Ticket::proved_key() {
    {
        const std::lock_guard lock(owner_->mutex_);
        owner_->leave_strangers(id_);
    }
    owner_->parts_.on_free();
}

bool Admission::Ticket::waits_for_factor(const std::string& key) {
    const std::lock_guard lock(owner_->mutex_);
    if (!is_below(owner_->waiting_by_key_, key, owner_->limits_.without_factor_per_key)) return false;
    ++owner_->waiting_by_key_[key];
    key_ = key;
    is_waiting_for_factor_ = true;
    return true;
}

bool Admission::Ticket::logged_in(const std::string& user, const std::string& key) {
    const std::lock_guard lock(owner_->mutex_);
    if (is_waiting_for_factor_) leave(owner_->waiting_by_key_, key_);
    is_waiting_for_factor_ = false;
    owner_->leave_strangers(id_);
    owner_->remember(group_);
    const Limits& limits = owner_->limits_;
    is_logged_in_ = is_below(owner_->by_key_, key, limits.logged_in_per_key) &&
                    is_below(owner_->by_user_, user, limits.logged_in_per_user);
    if (!is_logged_in_) return false;
    user_ = user;
    key_ = key;
    ++owner_->by_key_[key];
    ++owner_->by_user_[user];
    return true;
}

Admission::Ticket::~Ticket() {
    if (owner_ == nullptr) return;
    {
        const std::lock_guard lock(owner_->mutex_);
        --owner_->connections_;
        owner_->leave_strangers(id_);
        if (is_waiting_for_factor_) leave(owner_->waiting_by_key_, key_);
        if (is_logged_in_) {
            leave(owner_->by_key_, key_);
            leave(owner_->by_user_, user_);
        }
    }
    owner_->parts_.on_free();
}

} // namespace latchkey::door
