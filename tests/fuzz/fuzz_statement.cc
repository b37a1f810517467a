// SPDX-License-Identifier: Apache-2.0
#include "core/cert/statement.h"
#include "core/wire/reader.h"
#include "tests/fuzz/fuzz.h"

using latchkey::Bytes;
using latchkey::ByteView;
using latchkey::cert::Statement;
using latchkey::keys::PrivateKey;

// The input is taken once as an encoded statement, which nobody signed, and once as the fields of one that we
// sign: that one opens, and with any byte changed it does not.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const PrivateKey key = *PrivateKey::generate(latchkey::keys::KeyType::kEd25519);
    const ByteView input(data, size);
    LK_MUST(!Statement::open(input, {key.public_key()}));

    latchkey::wire::Reader reader(input);
    const auto digest = reader.raw(32);
    const auto serial = reader.u64();
    const auto sequence = reader.u64();
    const auto epoch = reader.u64();
    const auto micros = reader.u64();
    const auto place = reader.u8();
    const auto mask = reader.u8();
    if (!digest || !serial || !sequence || !epoch || !micros || !place || !mask || *mask == 0) return 0;
    const Statement statement{.certificate_digest = latchkey::to_bytes(*digest),
                              .serial = {*serial},
                              .sequence = {*sequence},
                              .epoch = {*epoch},
                              .issued_at = {static_cast<std::int64_t>(*micros >> 1)}};
    const auto encoded = statement.sign(key);
    LK_MUST(encoded);
    const auto opened = Statement::open(*encoded, {key.public_key()});
    LK_MUST(opened);
    LK_MUST(opened->certificate_digest == statement.certificate_digest);
    LK_MUST(opened->serial == statement.serial && opened->sequence == statement.sequence);
    LK_MUST(opened->epoch == statement.epoch && opened->issued_at == statement.issued_at);
    Bytes changed = *encoded;
    changed[*place % changed.size()] ^= *mask;
    LK_MUST(!Statement::open(changed, {key.public_key()}));
    return 0;
}
