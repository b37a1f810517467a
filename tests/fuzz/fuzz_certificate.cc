// SPDX-License-Identifier: Apache-2.0
#include "core/cert/certificate.h"
#include "core/wire/reader.h"
#include "tests/fuzz/fuzz.h"

using latchkey::ByteView;
using latchkey::cert::Certificate;

// The input is a certificate's blob. Rebuilt from what was understood, it is the same bytes: nothing that is
// signed escapes our eyes.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const ByteView input(data, size);
    const auto certificate = Certificate::from_blob(input);
    if (!certificate) return 0;
    LK_MUST(latchkey::equal(certificate->blob(), input));
    const ByteView signed_part = certificate->signed_part();
    LK_MUST(latchkey::equal(latchkey::cert::with_signature(signed_part, certificate->signature()), input));

    const auto& content = certificate->content();
    latchkey::wire::Reader reader(signed_part);
    LK_MUST(reader.text());
    const auto nonce = reader.string();
    LK_MUST(nonce);
    const auto rebuilt = latchkey::cert::to_be_signed(content, *nonce, certificate->ca());
    const bool may_be_built = !content.principals.empty() && content.valid_after < content.valid_before;
    LK_MUST(rebuilt.has_value() == may_be_built);
    if (rebuilt) LK_MUST(latchkey::equal(*rebuilt, signed_part));

    latchkey::keys::PublicKey ca;
    LK_MUST(latchkey::cert::parse_to_be_signed(signed_part, &ca));
    LK_MUST(ca == certificate->ca());
    const auto line = Certificate::from_line(certificate->line());
    LK_MUST(line && line->blob() == certificate->blob());
    const auto now = latchkey::from_seconds(static_cast<std::int64_t>(content.valid_after & INT32_MAX));
    if (latchkey::cert::verify(*certificate, {ca}, now, {})) {
        LK_MUST(may_be_built && content.type == latchkey::cert::kTypeUser);
        LK_MUST(ca.verify(certificate->signature(), signed_part));
    }
    return 0;
}
