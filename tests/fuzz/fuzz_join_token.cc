// SPDX-License-Identifier: Apache-2.0
#include "core/protocol/join_token.h"
#include "tests/fuzz/fuzz.h"

using latchkey::protocol::JoinToken;

// The input is a token's text. What was read is written as the same text.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text = latchkey::as_text({data, size});
    const auto token = JoinToken::parse(text);
    if (!token) return 0;
    const auto encoded = token->encode();
    LK_MUST(encoded);
    const auto again = JoinToken::parse(*encoded);
    LK_MUST(again && again->broker == token->broker && again->broker_key == token->broker_key);
    LK_MUST(again->id == token->id && latchkey::equal_secret(again->secret.view(), token->secret.view()));
    LK_MUST(!token->id.empty() && !token->secret.empty() && !token->broker.host.empty());
    return 0;
}
