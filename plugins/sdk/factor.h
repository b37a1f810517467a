// SPDX-License-Identifier: Apache-2.0
#pragma once
// Derive from FactorPlugin to write a second factor. It has no state of its own: it is given the person's
// state and returns the next one. All calls come from any thread, several at once.

#include <string>
#include <string_view>

#include "core/base/clock.h"
#include "core/base/secret_bytes.h"
#include "plugins/sdk/boundary.h"

namespace latchkey::sdk {

struct Enrolment {
    SecretBytes state;
    std::string show_text;
    std::string show_qr;
    std::string prompt;
    bool needs_confirmation = true;
};

struct CheckOutcome {
    bool accepted = false;
    SecretBytes next_state; // set where accepted
    std::string reason;     // set where not; never the code
};

class FactorPlugin {
public:
    virtual ~FactorPlugin() = default;
    virtual Result<Enrolment> enrol(std::string_view user, std::string_view issuer, Micros now) = 0;
    virtual Result<std::string> challenge(ByteView state) = 0;
    virtual Result<CheckOutcome> check(ByteView state, std::string_view answer, Micros now) = 0;
};

namespace seam {

inline std::int32_t factor_enrol(lk_instance* factor, lk_bytes user, lk_bytes issuer, std::int64_t now,
                                 const lk_sink* result, std::uint32_t* needs_confirmation,
                                 lk_error* error) noexcept {
    return guarded(error, [&]() -> Status {
        LK_TRY(made, plugin_of<FactorPlugin>(factor).enrol(text(user), text(issuer), Micros{now}));
        const Sink sink(result);
        LK_CHECK(sink.put(LK_FIELD_STATE, made.state.view()));
        LK_CHECK(sink.put(LK_FIELD_TEXT, made.show_text));
        LK_CHECK(sink.put(LK_FIELD_QR, made.show_qr));
        LK_CHECK(sink.put(LK_FIELD_PROMPT, made.prompt));
        *needs_confirmation = made.needs_confirmation ? 1 : 0;
        return {};
    });
}

inline std::int32_t factor_challenge(lk_instance* factor, lk_bytes state, const lk_sink* result,
                                     lk_error* error) noexcept {
    return guarded(error, [&]() -> Status {
        LK_TRY(prompt, plugin_of<FactorPlugin>(factor).challenge(view(state)));
        return Sink(result).put(LK_FIELD_PROMPT, prompt);
    });
}

inline std::int32_t factor_check(lk_instance* factor, lk_bytes state, lk_bytes answer, std::int64_t now,
                                 const lk_sink* result, std::uint32_t* accepted, lk_error* error) noexcept {
    return guarded(error, [&]() -> Status {
        LK_TRY(outcome, plugin_of<FactorPlugin>(factor).check(view(state), text(answer), Micros{now}));
        const Sink sink(result);
        if (outcome.accepted) {
            LK_CHECK(sink.put(LK_FIELD_STATE, outcome.next_state.view()));
        } else {
            LK_CHECK(sink.put(LK_FIELD_REASON, outcome.reason));
        }
        *accepted = outcome.accepted ? 1 : 0;
        return {};
    });
}

inline const lk_factor* factor_functions() {
    static const lk_factor table = {.size = sizeof(lk_factor),
                                    .enrol = factor_enrol,
                                    .challenge = factor_challenge,
                                    .check = factor_check};
    return &table;
}

} // namespace seam
} // namespace latchkey::sdk
