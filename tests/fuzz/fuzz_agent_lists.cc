// SPDX-License-Identifier: Apache-2.0
#include "core/base/bytes.h"
#include "core/protocol/break_glass.h"
#include "core/protocol/managed_logins.h"
#include "tests/fuzz/fuzz.h"

namespace p = latchkey::protocol;

// The input is the text of a list that agent and PAM module share. What was read is written as text that
// reads the same; a list that bears its sum is that text to the byte.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text = latchkey::as_text({data, size});
    if (const auto logins = p::parse_managed_logins(text)) {
        const std::string written = p::encode_managed_logins(*logins);
        const auto again = p::parse_managed_logins(written);
        LK_MUST(again && *again == *logins);
        LK_MUST(written == text || text.starts_with("# written by latchkey-agent\n"));
        LK_MUST(!p::parse_managed_logins(std::string_view(written).substr(0, written.size() - 1)));
    }
    const auto read = p::parse_uses(text);
    std::string written;
    for (const p::BreakGlassUse& use : read.uses) written += p::encode_use(use);
    const auto again = p::parse_uses(written);
    LK_MUST(again.unreadable == 0 && again.uses == read.uses);
    return 0;
}
