// SPDX-License-Identifier: Apache-2.0
#include "core/keys/public_key.h"
#include "tests/fuzz/fuzz.h"

using latchkey::ByteView;
using latchkey::keys::PublicKey;

namespace {

void check(const PublicKey& key, ByteView input) {
    const auto again = PublicKey::from_blob(key.blob());
    LK_MUST(again && *again == key);
    const auto line = PublicKey::from_line(key.line() + " " + key.comment());
    LK_MUST(line && *line == key && line->comment() == key.comment());
    LK_MUST(!key.fingerprint().empty());
    LK_MUST(key.bits() > 0);
    LK_MUST(key.fields().size() < key.blob().size());
    if (const auto strong = key.check_strength(); !strong) {
        LK_MUST(strong.error().code == latchkey::Code::kWeakKey);
        LK_MUST(!strong.error().message.empty());
    }
    LK_MUST(!key.verify(input, latchkey::as_bytes("nobody signed this")));
}

} // namespace

// The input is a blob, or a line.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const ByteView input(data, size);
    if (const auto key = PublicKey::from_blob(input); key) {
        LK_MUST(latchkey::equal(key->blob(), input));
        check(*key, input);
    }
    if (const auto key = PublicKey::from_line(latchkey::as_text(input)); key) check(*key, input);
    return 0;
}
