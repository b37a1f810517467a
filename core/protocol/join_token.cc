// SPDX-License-Identifier: Apache-2.0
#include "core/protocol/join_token.h"

#include <algorithm>
#include <charconv>

namespace latchkey::protocol {
namespace {

constexpr std::string_view kPrefix = "lk1.";
constexpr std::size_t kMaxHost = 253;
constexpr std::size_t kMaxTokenWord = 128;

bool is_word(std::string_view text) {
    return !text.empty() && text.size() <= kMaxTokenWord && std::all_of(text.begin(), text.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
               c == '-';
    });
}

bool is_host(std::string_view text, std::string_view extra) {
    return !text.empty() && text.size() <= kMaxHost && std::all_of(text.begin(), text.end(), [&](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               extra.find(c) != std::string_view::npos;
    });
}

Failure not_an_address() {
    return fail(Code::kMalformed, "not a broker address", "write host:port, and an IPv6 host in brackets");
}

Failure not_a_token(std::string_view why) {
    return fail(Code::kMalformed, "not a join token: " + std::string(why),
                "copy the whole line that `vm token` printed");
}

// Takes the part behind the last dot off the end of `text`.
std::string_view take_last(std::string_view& text) {
    const std::size_t dot = text.rfind('.');
    if (dot == std::string_view::npos) return {};
    const std::string_view part = text.substr(dot + 1);
    text = text.substr(0, dot);
    return part;
}

} // namespace

Result<BrokerAddress> BrokerAddress::parse(std::string_view text) {
    const std::size_t colon = text.rfind(':');
    if (colon == std::string_view::npos) return not_an_address();
    std::string_view host = text.substr(0, colon);
    const std::string_view digits = text.substr(colon + 1);
    BrokerAddress address;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), address.port);
    if (error != std::errc{} || end != digits.data() + digits.size() || address.port == 0)
        return not_an_address();
    if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
        host = host.substr(1, host.size() - 2);
        if (!is_host(host, ":.%") || host.find(':') == std::string_view::npos) return not_an_address();
    } else if (!is_host(host, ".-_")) {
        return not_an_address();
    }
    address.host = std::string(host);
    return address;
}

std::string BrokerAddress::text() const {
    const bool brackets = host.find(':') != std::string::npos;
    return (brackets ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

Result<JoinToken> JoinToken::parse(std::string_view text) {
    if (text.size() > kMaxJoinTokenSize) return not_a_token("too long");
    if (text.substr(0, kPrefix.size()) != kPrefix) return not_a_token("it does not begin with lk1.");
    text.remove_prefix(kPrefix.size());
    const std::string_view secret = take_last(text);
    const std::string_view id = take_last(text);
    const std::string_view fingerprint = take_last(text);
    if (!is_word(secret) || !is_word(id)) return not_a_token("its last parts are missing or damaged");
    auto key = Fingerprint::parse(fingerprint);
    if (!key) return not_a_token("the broker's key fingerprint is missing or damaged");
    auto broker = BrokerAddress::parse(text);
    if (!broker) return not_a_token("the broker's address is missing or damaged");
    return JoinToken{*std::move(broker), *std::move(key), std::string(id), SecretBytes(as_bytes(secret))};
}

Result<std::string> JoinToken::encode() const {
    std::string text = std::string(kPrefix) + broker.text() + "." + broker_key.str() + "." + id + "." +
                       std::string(as_text(secret.view()));
    LK_CHECK(parse(text).has_value() ? Status() : Status(not_a_token("a part that cannot be written")));
    return text;
}

} // namespace latchkey::protocol
