// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/chain.h"

#include <algorithm>

#include "broker/ledger/audit.h"
#include "broker/ledger/detail.h"
#include "broker/ledger/rows.h"
#include "core/keys/openssl.h"

namespace latchkey::ledger {
namespace {

constexpr std::string_view kChainTable = "chain_head";

Sealer::Mac head_mac(const Transaction& t, const ChainHead& head) {
    return t.sealer.mac({kChainTable, 1, head.sequence}, head.hash);
}

bool take_hash(Columns& columns, ChainHash& hash) {
    const Bytes bytes = columns.bytes();
    if (!columns.is_good() || bytes.size() != hash.size()) return false;
    std::ranges::copy(bytes, hash.begin());
    return true;
}

std::optional<ChainHead> take_head(Transaction& t, const std::optional<Row>& row) {
    if (!row) return std::nullopt;
    Columns columns(*row);
    ChainHead head;
    head.sequence = columns.number();
    if (!take_hash(columns, head.hash)) return std::nullopt;
    const Bytes mac = columns.bytes();
    if (!t.sealer.fits({kChainTable, 1, head.sequence}, head.hash, mac)) return std::nullopt;
    return head;
}

// What the audit rows themselves end in.
Result<ChainHead> last_row(Transaction& t) {
    ChainHead last;
    LK_TRY(row, query_one(t, "SELECT sequence, hash FROM audit ORDER BY sequence DESC LIMIT 1"));
    if (!row) return last;
    Columns columns(*row);
    last.sequence = columns.number();
    take_hash(columns, last.hash);
    return last;
}

} // namespace

ChainHash chain_hash(const ChainHash& before, std::uint64_t sequence, Micros at, const AuditEvent& event) {
    wire::Writer writer;
    writer.reserve(before.size() + event.detail.size() + event.object.size() + 160);
    writer.string(ByteView(before));
    writer.u64(sequence);
    writer.u64(static_cast<std::uint64_t>(at.value));
    writer.string(event.actor);
    writer.string(event.action);
    writer.string(event.object);
    writer.string(event.outcome);
    writer.string(event.detail);
    return keys::sha256(writer.bytes());
}

Status create_chain(Transaction& t) {
    t.scratch.head = ChainHead{};
    return write_chain_head(t);
}

Result<std::optional<ChainHead>> read_chain_head(Transaction& t) {
    LK_TRY(row, query_one(t, "SELECT sequence, hash, mac FROM chain_head WHERE id = 1"));
    return take_head(t, row);
}

// A head that fits neither its MAC nor the rows must not stop us: revocations are written through here. The
// chain goes on from the last row that is there, and a row says for good that it was broken at this place.
Status lock_chain_head(Transaction& t) {
    LK_TRY(row, query_one(t,
                          "UPDATE chain_head SET sequence = sequence WHERE id = 1 "
                          "RETURNING sequence, hash, mac"));
    const auto head = take_head(t, row);
    LK_TRY(last, last_row(t));
    t.scratch.head = last;
    if (head && head->sequence == last.sequence && head->hash == last.hash) return {};
    t.tampered.note(kChainTable, 1);
    Detail detail;
    if (head) detail.id("expected_sequence", head->sequence);
    detail.id("found_sequence", last.sequence);
    return append_audit(t, {"latchkeyd", std::string(kChainBroken), "audit", "deny", detail.json()});
}

Status write_chain_head(Transaction& t) {
    const ChainHead& head = *t.scratch.head;
    return execute(t,
                   "INSERT INTO chain_head (id, sequence, hash, mac) VALUES (1, $1, $2, $3) "
                   "ON CONFLICT (id) DO UPDATE SET sequence = $1, hash = $2, mac = $3",
                   head.sequence, ByteView(head.hash), head_mac(t, head));
}

} // namespace latchkey::ledger
