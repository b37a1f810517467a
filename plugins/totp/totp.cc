// SPDX-License-Identifier: Apache-2.0
#include "plugins/totp/totp.h"

#include <liboath/oath.h>
#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <string>

#include "core/base/unique_handle.h"
#include "plugins/totp/qr.h"
#include "plugins/totp/state.h"

namespace latchkey::totp {
namespace {

constexpr std::int64_t kStepSeconds = 30;
constexpr unsigned kDigits = 6;
constexpr std::uint64_t kWindow = 1; // steps before and after

std::uint64_t step_at(Micros now) {
    return static_cast<std::uint64_t>(std::max<std::int64_t>(now.seconds(), 0) / kStepSeconds);
}

using Code6 = std::array<char, kDigits + 1>;

Result<Code6> code_at(const SecretBytes& secret, std::uint64_t step) {
    Code6 code{};
    const auto* key = reinterpret_cast<const char*>(secret.view().data());
    const int result = oath_hotp_generate(key, secret.size(), step, kDigits, false,
                                          OATH_HOTP_DYNAMIC_TRUNCATION, code.data());
    if (result != OATH_OK) return fail(Code::kInternal, std::string("liboath: ") + oath_strerror(result));
    return code;
}

Result<std::string> base32(const SecretBytes& secret) {
    char* raw = nullptr;
    std::size_t size = 0;
    const auto* key = reinterpret_cast<const char*>(secret.view().data());
    const int result = oath_base32_encode(key, secret.size(), &raw, &size);
    if (result != OATH_OK) return fail(Code::kInternal, std::string("liboath: ") + oath_strerror(result));
    const UniqueHandle<char, std::free> owned(raw);
    std::string text(raw, size);
    wipe({reinterpret_cast<std::uint8_t*>(raw), size});
    return text;
}

std::string percent_encoded(std::string_view text) {
    constexpr std::string_view kPlain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    std::string encoded;
    for (const char c : text) {
        if (kPlain.find(c) != std::string_view::npos) {
            encoded += c;
        } else {
            encoded += '%' + to_hex(as_bytes(std::string_view(&c, 1)));
        }
    }
    return encoded;
}

// Algorithm, digits and period are the ones that every app takes without being told: a shorter QR code.
std::string uri_for(std::string_view user, std::string_view issuer, const std::string& secret) {
    const std::string by = percent_encoded(issuer);
    return "otpauth://totp/" + by + ":" + percent_encoded(user) + "?secret=" + secret + "&issuer=" + by;
}

std::string in_fours(std::string_view text) {
    std::string grouped;
    for (std::size_t i = 0; i < text.size(); i += 4) {
        if (i > 0) grouped += ' ';
        grouped += text.substr(i, 4);
    }
    return grouped;
}

// Apps show "123 456". Anything else that is no six digits is just a wrong code.
std::string without_spaces(std::string_view answer) {
    std::string digits;
    for (const char c : answer.substr(0, 64)) {
        if (c != ' ' && c != '\t') digits += c;
    }
    return digits;
}

sdk::CheckOutcome refused(std::string reason) {
    sdk::CheckOutcome outcome;
    outcome.reason = std::move(reason);
    return outcome;
}

} // namespace

Result<std::unique_ptr<Totp>> Totp::open(const sdk::Host& host) {
    LK_CHECK(host.only({}));
    const int result = oath_init();
    if (result != OATH_OK) return fail(Code::kInternal, std::string("liboath: ") + oath_strerror(result));
    return std::unique_ptr<Totp>(new Totp);
}

Result<sdk::Enrolment> Totp::enrol(std::string_view user, std::string_view issuer, Micros) {
    State state{SecretBytes(kSecretSize), 0};
    if (RAND_bytes(state.secret.writable().data(), static_cast<int>(kSecretSize)) != 1) {
        return fail(Code::kInternal, "no random numbers from OpenSSL");
    }
    LK_TRY(secret, base32(state.secret));
    const std::string uri = uri_for(user, issuer, secret);
    sdk::Enrolment enrolment;
    enrolment.state = state.encode();
    enrolment.show_text = "Secret for your authenticator app: " + in_fours(secret) + "\nOr as a link: " + uri;
    enrolment.show_qr = draw_qr(uri);
    enrolment.prompt = "Code that the app shows: ";
    return enrolment;
}

Result<std::string> Totp::challenge(ByteView) {
    return std::string("Verification code: ");
}

Result<sdk::CheckOutcome> Totp::check(ByteView stored, std::string_view answer, Micros now) {
    LK_TRY(state, State::decode(stored));
    const std::string given = without_spaces(answer);
    const std::uint64_t current = step_at(now);

    // All steps are computed and compared, whichever fits: the time taken says nothing.
    bool matches_any = false;
    std::uint64_t matched_step = 0; // the latest that is good still
    for (std::uint64_t step = current - std::min(current, kWindow); step <= current + kWindow; ++step) {
        LK_TRY(code, code_at(state.secret, step));
        const bool matches = equal_secret(as_bytes(std::string_view(code.data(), kDigits)), as_bytes(given));
        matches_any = matches_any || matches;
        if (matches && step > state.last_step) matched_step = step;
    }
    if (!matches_any) return refused("wrong code");
    if (matched_step == 0) return refused("code used before");

    state.last_step = matched_step;
    sdk::CheckOutcome outcome;
    outcome.accepted = true;
    outcome.next_state = state.encode();
    return outcome;
}

} // namespace latchkey::totp
