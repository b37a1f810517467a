// SPDX-License-Identifier: Apache-2.0
#include "core/keys/openssl.h"
#include "core/revocation/revocation.h"
#include "tests/fuzz/fuzz.h"

using latchkey::Bytes;
using latchkey::ByteView;
using latchkey::revocation::RevocationSet;

// The input is a file without its checksum, which the target adds. What was read is written as the same
// bytes, covers what each entry names, and goes through replace() unchanged.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const ByteView input(data, size);
    const auto raw = RevocationSet::decode(input);
    LK_MUST(raw || raw.error().code == latchkey::Code::kTampered);

    Bytes file = latchkey::to_bytes(input);
    const auto digest = latchkey::keys::sha256(input);
    file.insert(file.end(), digest.begin(), digest.end());
    auto set = RevocationSet::decode(file);
    if (!set) return 0;
    LK_MUST(set->encode() == file);
    for (const auto& entry : set->all()) {
        latchkey::revocation::Credential credential;
        credential.issued_at = entry.made_at;
        if (entry.selector.kind_name() == "user")
            credential.user = *latchkey::UserName::parse(entry.selector.text);
        else if (entry.selector.kind_name() == "cert")
            credential.serial = {std::strtoull(entry.selector.text.c_str(), nullptr, 10)};
        else
            continue;
        LK_MUST(set->covers(credential));
    }
    RevocationSet other;
    LK_MUST(other.replace(set->epoch(), set->all()));
    LK_MUST(other.encode() == file);
    const std::size_t before = set->size();
    LK_MUST(set->drop_ended(latchkey::Micros{INT64_MAX}) == before && set->size() == 0);
    LK_MUST(set->epoch() == other.epoch());
    return 0;
}
