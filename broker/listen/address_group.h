// SPDX-License-Identifier: Apache-2.0
#pragma once
// Who is counted as one peer. Pure; any thread.

#include <sys/socket.h>

#include <string>

namespace latchkey {

// "192.0.2.1", "2001:db8::1"; empty where the family is another.
std::string address_text(const sockaddr_storage& address);
// What is counted together, since one machine may have all of it: the IPv4 address, the IPv6 /64.
std::string address_group(const sockaddr_storage& address);

} // namespace latchkey
