// SPDX-License-Identifier: Apache-2.0
#include "broker/door/admission.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <cstring>

namespace latchkey::door {
namespace {

std::string v6_text(in6_addr address) {
    char text[INET6_ADDRSTRLEN] = {};
    inet_ntop(AF_INET6, &address, text, sizeof text);
    return text;
}

std::string v4_text(const void* address) {
    char text[INET_ADDRSTRLEN] = {};
    inet_ntop(AF_INET, address, text, sizeof text);
    return text;
}

std::string text_of(const sockaddr_storage& address, bool is_group) {
    if (address.ss_family == AF_INET) {
        sockaddr_in v4{};
        std::memcpy(&v4, &address, sizeof v4);
        return v4_text(&v4.sin_addr);
    }
    if (address.ss_family != AF_INET6) return {};
    sockaddr_in6 v6{};
    std::memcpy(&v6, &address, sizeof v6);
    if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) return v4_text(&v6.sin6_addr.s6_addr[12]);
    if (!is_group) return v6_text(v6.sin6_addr);
    std::memset(&v6.sin6_addr.s6_addr[8], 0, 8);
    return v6_text(v6.sin6_addr) + "/64";
}

} // namespace

std::string address_text(const sockaddr_storage& address) {
    return text_of(address, false);
}

std::string address_group(const sockaddr_storage& address) {
    return text_of(address, true);
}

std::optional<Admission::Ticket> Admission::admit(const std::string& group) {
    const std::lock_guard lock(mutex_);
    if (connections_ >= limits_.connections || unauthenticated_ >= limits_.unauthenticated)
        return std::nullopt;
    std::size_t& here = by_group_[group];
    if (here >= limits_.unauthenticated_per_address) return std::nullopt;
    ++here;
    ++connections_;
    ++unauthenticated_;
    return Ticket(*this, group);
}

void Admission::leave_unauthenticated(const std::string& group) {
    --unauthenticated_;
    const auto found = by_group_.find(group);
    if (--found->second == 0) by_group_.erase(found);
}

void Admission::Ticket::logged_in() {
    const std::lock_guard lock(owner_->mutex_);
    if (!is_logged_in_) owner_->leave_unauthenticated(group_);
    is_logged_in_ = true;
}

Admission::Ticket::~Ticket() {
    if (owner_ == nullptr) return;
    const std::lock_guard lock(owner_->mutex_);
    --owner_->connections_;
    if (!is_logged_in_) owner_->leave_unauthenticated(group_);
}

} // namespace latchkey::door
