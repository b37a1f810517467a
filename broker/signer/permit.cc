// SPDX-License-Identifier: Apache-2.0
#include "broker/signer/permit.h"

#include <algorithm>
#include <array>
#include <string>

#include "core/cert/certificate.h"

namespace latchkey::signer {
namespace {

constexpr std::size_t kMaxKeyIdSize = 128;
constexpr std::size_t kMaxPrincipalSize = 32;
constexpr std::array<std::string_view, 3> kCriticalOptions = {"force-command", "source-address",
                                                              "verify-required"};
constexpr std::array<std::string_view, 5> kExtensions = {"permit-X11-forwarding", "permit-agent-forwarding",
                                                         "permit-port-forwarding", "permit-pty",
                                                         "permit-user-rc"};

Failure refused(std::string why) {
    return fail(Code::kRefused, std::move(why));
}

bool is_printable(std::string_view text) {
    return !text.empty() && std::ranges::all_of(text, [](char c) { return c > ' ' && c <= '~'; });
}

Status check_window(const cert::Content& content, const Limits& limits, Micros now) {
    const auto now_seconds = static_cast<std::uint64_t>(std::max<std::int64_t>(now.seconds(), 0));
    if (content.valid_after >= content.valid_before) return refused("certificate that is valid at no time");
    if (content.valid_before - content.valid_after > limits.max_lifetime_seconds + limits.skew_seconds) {
        return refused("lifetime over the signer's limit of " + std::to_string(limits.max_lifetime_seconds) +
                       " s");
    }
    if (content.valid_after > now_seconds + limits.skew_seconds)
        return refused("certificate that begins in the future");
    if (content.valid_after + limits.skew_seconds < now_seconds)
        return refused("certificate that begins in the past");
    return {};
}

Status check_subject(const keys::PublicKey& subject, const Limits& limits) {
    if (std::ranges::find(limits.subject_types, subject.type()) == limits.subject_types.end())
        return refused("key type " + std::string(keys::type_name(subject.type())) + " is not allowed");
    if (subject.type() == keys::KeyType::kRsa && subject.bits() < limits.min_rsa_bits)
        return refused("RSA key of " + std::to_string(subject.bits()) + " bits");
    return {};
}

template <class Known>
Status check_options(const std::vector<cert::Option>& options, const Known& known, std::string_view what) {
    for (const cert::Option& option : options) {
        if (std::ranges::find(known, option.name) == known.end())
            return refused("unknown " + std::string(what));
    }
    return {};
}

} // namespace

Result<keys::PublicKey> permit(ByteView to_be_signed, const std::vector<keys::PublicKey>& ours,
                               const Limits& limits, Micros now) {
    keys::PublicKey ca;
    LK_TRY(content,
           cert::parse_to_be_signed(to_be_signed, &ca)); // refuses a short nonce and over 256 principals
    if (content.type != cert::kTypeUser) return refused("not a user certificate");
    if (std::ranges::find(ours, ca) == ours.end()) return refused("a CA key that is not ours");
    if (content.principals.empty())
        return refused("certificate without principals, which would fit every login");
    if (!std::ranges::all_of(content.principals, [](const std::string& principal) {
            return principal.size() <= kMaxPrincipalSize && is_printable(principal);
        })) {
        return refused("principal that is no login");
    }
    if (content.serial.value == 0) return refused("certificate without a serial");
    if (content.key_id.size() > kMaxKeyIdSize || !is_printable(content.key_id))
        return refused("key id that cannot stand in a log");
    LK_CHECK(check_window(content, limits, now));
    LK_CHECK(check_subject(content.subject, limits));
    LK_CHECK(check_options(content.critical_options, kCriticalOptions, "critical option"));
    LK_CHECK(check_options(content.extensions, kExtensions, "extension"));
    return ca;
}

} // namespace latchkey::signer
