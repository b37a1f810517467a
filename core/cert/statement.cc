// SPDX-License-Identifier: Apache-2.0
#include "core/cert/statement.h"

#include <algorithm>

#include "core/wire/reader.h"
#include "core/wire/writer.h"

namespace latchkey::cert {
namespace {

constexpr std::string_view kLabel = "latchkey-statement-v1";
constexpr std::size_t kDigestSize = 32;
constexpr std::size_t kMaxStatementSize = 4096;

} // namespace

Result<Bytes> Statement::sign(const keys::PrivateKey& ledger_key) const {
    if (certificate_digest.size() != kDigestSize || issued_at.value < 0)
        return fail(Code::kUsage, "a statement names a SHA-256 digest and a time after 1970");
    wire::Writer writer;
    writer.reserve(256);
    writer.string(kLabel);
    writer.string(certificate_digest);
    writer.u64(serial.value);
    writer.u64(sequence.value);
    writer.u64(epoch.value);
    writer.u64(static_cast<std::uint64_t>(issued_at.value));
    LK_TRY(signature, ledger_key.sign(writer.bytes()));
    writer.string(signature);
    return writer.take();
}

Result<Statement> Statement::open(ByteView encoded, const std::vector<keys::PublicKey>& ledger_keys) {
    if (encoded.size() > kMaxStatementSize) return fail(Code::kTooLarge, "statement over 4 KiB");
    wire::Reader reader(encoded);
    LK_TRY(label, reader.text());
    if (label != kLabel) return fail(Code::kMalformed, "this is no statement of version 1");
    LK_TRY(digest, reader.string());
    LK_TRY(serial, reader.u64());
    LK_TRY(sequence, reader.u64());
    LK_TRY(epoch, reader.u64());
    LK_TRY(micros, reader.u64());
    const ByteView signed_part = encoded.first(encoded.size() - reader.rest().size());
    LK_TRY(signature, reader.string());
    LK_CHECK(reader.expect_end());
    if (digest.size() != kDigestSize || micros > INT64_MAX)
        return fail(Code::kMalformed, "statement with a digest or a time that cannot be");
    if (std::ranges::none_of(ledger_keys, [&](const keys::PublicKey& key) {
            return key.verify(signature, signed_part).has_value();
        })) {
        return fail(Code::kBadSignature, "statement that no trusted ledger key signed");
    }
    return Statement{.certificate_digest = to_bytes(digest),
                     .serial = {serial},
                     .sequence = {sequence},
                     .epoch = {epoch},
                     .issued_at = {static_cast<std::int64_t>(micros)}};
}

} // namespace latchkey::cert
