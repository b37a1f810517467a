// SPDX-License-Identifier: Apache-2.0
#pragma once
// `latchkey-agent first-boot`: joins a VM that was made from an image, by the token that it was given. It
// waits, for as long as it takes, until the VM has a name of its own and the broker answers; a broker that
// refuses ends it at once, and is asked no second time. Blocking; a process of its own, so it may sleep.

#include <functional>
#include <optional>

#include "agent/hub_link/join.h"

namespace latchkey::agent {

// Where a first boot looks for its token, the first that is there counts.
struct TokenPlaces {
    std::filesystem::path credential; // empty: systemd gave us no credentials
    std::filesystem::path file;       // removed once it is spent
};

inline constexpr std::string_view kTokenCredential = "latchkey.join-token";

// What it needs of the world; a test gives its own.
struct FirstBootWorld {
    std::function<Result<VmName>()> host_name;
    std::function<Result<BrokerPin>(const protocol::JoinToken&, const VmName&)> join;
    std::function<void(Micros)> pause;
    std::function<void(const std::string&)> say; // a line for the log
};

enum class FirstBoot : std::uint8_t {
    kJoined = 1,
    kJoinedBefore, // what is left of a token is removed
    kNoToken,      // nobody wants this VM to join yet
};

// Fails where waiting does not help: a token that is none, that others may read, or that the broker refuses.
Result<FirstBoot> first_boot(const StateFolder& state, const TokenPlaces& places,
                             const FirstBootWorld& world);

// A token as a file or a terminal gives it, with blanks around it.
Result<protocol::JoinToken> parse_token(std::string_view text);

// A host that was not named yet is kUnavailable.
Result<VmName> own_name_of_host();

} // namespace latchkey::agent
