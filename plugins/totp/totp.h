// SPDX-License-Identifier: Apache-2.0
#pragma once
// Time-based one-time passwords (RFC 6238: SHA-1, 6 digits, 30 s), by liboath. A code of the step before and
// after is taken too. The state holds the secret and the last accepted step; a code of that step or an older
// one was used before. No settings. Any thread.

#include <memory>

#include "plugins/sdk/plugin.h"

namespace latchkey::totp {

class Totp : public sdk::FactorPlugin {
public:
    static Result<std::unique_ptr<Totp>> open(const sdk::Host& host);

    Result<sdk::Enrolment> enrol(std::string_view user, std::string_view issuer, Micros now) override;
    Result<std::string> challenge(ByteView state) override;
    Result<sdk::CheckOutcome> check(ByteView state, std::string_view answer, Micros now) override;

private:
    Totp() = default;
};

} // namespace latchkey::totp
