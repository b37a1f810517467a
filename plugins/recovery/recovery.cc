// SPDX-License-Identifier: Apache-2.0
#include "plugins/recovery/recovery.h"

#include <openssl/rand.h>

#include <algorithm>
#include <string>

#include "plugins/recovery/state.h"

namespace latchkey::recovery {
namespace {

// 32 symbols, so that five bits of a random byte choose one evenly; no i, l, o, u to misread.
constexpr std::string_view kAlphabet = "0123456789abcdefghjkmnpqrstvwxyz";
constexpr std::size_t kSymbols = 10;
static_assert(kAlphabet.size() == 32);

Status fill_random(std::span<std::uint8_t> memory) {
    if (RAND_bytes(memory.data(), static_cast<int>(memory.size())) == 1) return {};
    return fail(Code::kInternal, "no random numbers from OpenSSL");
}

Result<std::string> new_code() {
    std::array<std::uint8_t, kSymbols> random{};
    LK_CHECK(fill_random(random));
    std::string code;
    for (const std::uint8_t byte : random) code += kAlphabet[byte % kAlphabet.size()];
    wipe(random);
    return code;
}

std::string for_people(const std::string& code) {
    return code.substr(0, kSymbols / 2) + "-" + code.substr(kSymbols / 2);
}

// What a person typed, in the form that was hashed: letters small, look-alikes put right, no dash or space.
std::string plain(std::string_view typed) {
    std::string code;
    for (char c : typed.substr(0, 64)) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
        if (c == 'o') c = '0';
        if (c == 'i' || c == 'l') c = '1';
        if (c != '-' && c != ' ' && c != '\t') code += c;
    }
    return code;
}

sdk::CheckOutcome refused(std::string reason) {
    sdk::CheckOutcome outcome;
    outcome.reason = std::move(reason);
    return outcome;
}

} // namespace

Result<std::unique_ptr<Recovery>> Recovery::open(const sdk::Host& host) {
    LK_CHECK(host.only({}));
    return std::unique_ptr<Recovery>(new Recovery);
}

Result<sdk::Enrolment> Recovery::enrol(std::string_view, std::string_view, Micros) {
    State state;
    LK_CHECK(fill_random(state.salt));
    sdk::Enrolment enrolment;
    enrolment.needs_confirmation = false;
    enrolment.show_text = "Recovery codes. Each is good once; they are shown now and never again:\n";
    for (std::size_t i = 0; i < kCodes; ++i) {
        LK_TRY(code, new_code());
        LK_TRY(digest, state.digest(code));
        state.left.push_back(digest);
        enrolment.show_text += "  " + for_people(code) + "\n";
    }
    enrolment.state = state.encode();
    return enrolment;
}

Result<std::string> Recovery::challenge(ByteView) {
    return std::string("Recovery code: ");
}

Result<sdk::CheckOutcome> Recovery::check(ByteView stored, std::string_view answer, Micros) {
    LK_TRY(state, State::decode(stored));
    if (state.left.empty()) return refused("no recovery code left");
    LK_TRY(given, state.digest(plain(answer)));

    // Every digest is compared, also after one that fits: the time taken says nothing.
    auto found = state.left.end();
    for (auto one = state.left.begin(); one != state.left.end(); ++one) {
        if (equal_secret(*one, given)) found = one;
    }
    if (found == state.left.end()) return refused("wrong code");
    state.left.erase(found);
    sdk::CheckOutcome outcome;
    outcome.accepted = true;
    outcome.next_state = state.encode();
    return outcome;
}

} // namespace latchkey::recovery
