// SPDX-License-Identifier: Apache-2.0
#pragma once
// A second factor behind the plugin seam. Stateless: it is given the user's state (the host seals it at rest)
// and returns the next one, which the broker stores by compare-and-swap in the transaction that accepts the
// code, so that a code is good once on any number of brokers. Calls may come from several threads at once.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/clock.h"
#include "core/base/result.h"
#include "core/base/secret_bytes.h"

namespace latchkey::plugin_host {

struct Enrolment {
    SecretBytes state;              // to be stored once a first code confirms it
    std::string show_text;          // for the person: secret and otpauth URI as text
    std::string show_qr;            // the same as a QR code in UTF-8 half blocks, may be empty
    std::string prompt;             // what to ask for the confirmation
    bool needs_confirmation = true; // false: recovery codes, shown once
};

struct CheckOutcome {
    bool accepted = false;
    SecretBytes next_state; // set where accepted
    std::string reason;     // for the audit row where not: "wrong code", "code used before"; never the code
};

class Factor {
public:
    virtual ~Factor() = default;
    virtual std::string_view kind() const = 0; // "totp"
    virtual Result<Enrolment> enrol(std::string_view user, std::string_view issuer, Micros now) = 0;
    // The prompt for this person ("Verification code: "); a challenge may change the state (none of ours
    // does).
    virtual Result<std::string> challenge(const SecretBytes& state) = 0;
    virtual Result<CheckOutcome> check(const SecretBytes& state, std::string_view answer, Micros now) = 0;
};

} // namespace latchkey::plugin_host
