// SPDX-License-Identifier: Apache-2.0
#pragma once
// The join token that an admin carries from the broker to a new VM:
//   lk1.<host:port>.<broker key fingerprint>.<id>.<secret>
// The address may hold dots (and an IPv6 host stands in brackets), so the text is read from the right. id and
// secret are opaque words of [A-Za-z0-9_-]; the secret's characters are what Join carries and what the broker
// hashes. Values; any thread. Limit 1 KiB. Anything else is kMalformed, and no message repeats the secret.

#include <cstdint>
#include <string>
#include <string_view>

#include "core/base/names.h"
#include "core/base/result.h"
#include "core/base/secret_bytes.h"

namespace latchkey::protocol {

inline constexpr std::size_t kMaxJoinTokenSize = 1024;

// "host:port", "192.0.2.1:7443", "[2001:db8::1]:7443".
struct BrokerAddress {
    std::string host; // without brackets
    std::uint16_t port = 0;

    static Result<BrokerAddress> parse(std::string_view text);
    std::string text() const;
    auto operator<=>(const BrokerAddress&) const = default;
};

struct JoinToken {
    BrokerAddress broker;
    Fingerprint broker_key;
    std::string id;
    SecretBytes secret; // its characters

    static Result<JoinToken> parse(std::string_view text);
    // For the one place that shows it to the admin: it holds the secret.
    Result<std::string> encode() const;
};

} // namespace latchkey::protocol
