// SPDX-License-Identifier: Apache-2.0
#pragma once
// Recovery codes: ten, shown once, each good once, 50 random bits each. The state holds a salt and the HMAC
// of every code that is left (state.h); an accepted code's is taken out. No settings. Any thread.

#include <memory>

#include "plugins/sdk/plugin.h"

namespace latchkey::recovery {

class Recovery : public sdk::FactorPlugin {
public:
    static Result<std::unique_ptr<Recovery>> open(const sdk::Host& host);

    Result<sdk::Enrolment> enrol(std::string_view user, std::string_view issuer, Micros now) override;
    Result<std::string> challenge(ByteView state) override;
    Result<sdk::CheckOutcome> check(ByteView state, std::string_view answer, Micros now) override;

private:
    Recovery() = default;
};

} // namespace latchkey::recovery
