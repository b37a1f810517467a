// SPDX-License-Identifier: Apache-2.0
#include "broker/listen/address_group.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <cstring>

namespace latchkey {
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

} // namespace latchkey
