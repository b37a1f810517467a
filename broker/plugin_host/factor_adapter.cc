// SPDX-License-Identifier: Apache-2.0
#include <optional>
#include <utility>

#include "broker/plugin_host/adapters.h"

namespace latchkey::plugin_host {
namespace {

// What a factor may put, each at most once; a field that we do not know is ignored.
struct Collected {
    std::optional<SecretBytes> state;
    std::string text;
    std::string qr;
    std::string prompt;
    std::string reason;
};

// A prompt of a plugin goes to people's terminals, a state to the ledger: all of them are small.
constexpr std::size_t kMostBytes = 64 * 1024;

std::int32_t collect_fields(void* context, std::uint32_t field, lk_bytes value) noexcept try {
    auto& into = *static_cast<Collected*>(context);
    if (value.size > kMostBytes) return LK_ERROR_TOO_LARGE;
    const std::string_view text = as_text(view(value));
    switch (field) {
        case LK_FIELD_STATE:
            into.state.emplace(view(value));
            break;
        case LK_FIELD_TEXT:
            into.text = text;
            break;
        case LK_FIELD_QR:
            into.qr = text;
            break;
        case LK_FIELD_PROMPT:
            into.prompt = text;
            break;
        case LK_FIELD_REASON:
            into.reason = text;
            break;
        default:
            break;
    }
    return LK_OK;
} catch (...) {
    return LK_ERROR_INTERNAL;
}

class PluginFactor : public Factor {
public:
    PluginFactor(std::shared_ptr<Instance> instance, const lk_factor& functions)
        : instance_(std::move(instance)), functions_(functions) {}

    std::string_view kind() const override { return instance_->name(); }

    Result<Enrolment> enrol(std::string_view user, std::string_view issuer, Micros now) override {
        Collected got;
        const lk_sink sink{&got, collect_fields};
        std::uint32_t confirm = 1;
        LK_CHECK(instance_->guarded([&](lk_error* error) {
            return functions_.enrol(instance_->raw(), lend(user), lend(issuer), now.value, &sink, &confirm,
                                    error);
        }));
        if (!got.state) return fault("enrolled without a state");
        return Enrolment{*std::move(got.state), std::move(got.text), std::move(got.qr), std::move(got.prompt),
                         confirm != 0};
    }

    Result<std::string> challenge(const SecretBytes& state) override {
        Collected got;
        const lk_sink sink{&got, collect_fields};
        LK_CHECK(instance_->guarded([&](lk_error* error) {
            return functions_.challenge(instance_->raw(), lend(state.view()), &sink, error);
        }));
        if (got.prompt.empty()) return fault("asks nothing");
        return std::move(got.prompt);
    }

    // Accepted is 1 and nothing else, and needs the state in which the answer is spent.
    Result<CheckOutcome> check(const SecretBytes& state, std::string_view answer, Micros now) override {
        Collected got;
        const lk_sink sink{&got, collect_fields};
        std::uint32_t accepted = 0;
        LK_CHECK(instance_->guarded([&](lk_error* error) {
            return functions_.check(instance_->raw(), lend(state.view()), lend(answer), now.value, &sink,
                                    &accepted, error);
        }));
        if (accepted != 1) {
            return CheckOutcome{false, {}, got.reason.empty() ? "refused" : std::move(got.reason)};
        }
        if (!got.state) return fault("accepted an answer without a next state");
        return CheckOutcome{true, *std::move(got.state), {}};
    }

private:
    Failure fault(const char* what) const {
        return fail(Code::kInternal, "plugin " + instance_->name() + " " + what);
    }

    std::shared_ptr<Instance> instance_;
    const lk_factor functions_;
};

} // namespace

Result<std::unique_ptr<Factor>> adapt_factor(std::shared_ptr<Instance> instance) {
    const auto functions = functions_of<lk_factor>(instance->module());
    LK_CHECK(check_complete(instance->module(), functions.enrol && functions.challenge && functions.check));
    return std::unique_ptr<Factor>(std::make_unique<PluginFactor>(std::move(instance), functions));
}

} // namespace latchkey::plugin_host
