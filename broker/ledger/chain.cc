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

// sequence, hash, mac; all NULL where there is none.
std::optional<ChainHead> take_head(Transaction& t, const Row& row) {
    Columns columns(row);
    ChainHead head;
    head.sequence = columns.number();
    if (!take_hash(columns, head.hash)) return std::nullopt;
    const Bytes mac = columns.bytes();
    if (!t.sealer.fits({kChainTable, 1, head.sequence}, head.hash, mac)) return std::nullopt;
    return head;
}

struct Ends {
    std::optional<ChainHead> head;
    ChainHead last_row; // what the audit rows themselves end in
};

Result<Ends> read_ends(Transaction& t) {
    LK_TRY(row, query_one(t,
                          "SELECT h.sequence, h.hash, h.mac, a.sequence, a.hash FROM (SELECT 1 AS id) o "
                          "LEFT JOIN chain_head h ON h.id = o.id LEFT JOIN "
                          "(SELECT sequence, hash FROM audit ORDER BY sequence DESC LIMIT 1) a ON o.id = 1"));
    Ends ends;
    if (!row || row->size() != 5) return fail(Code::kInternal, "the chain's ends are not as asked for");
    ends.head = take_head(t, *row);
    row->erase(row->begin(), row->begin() + 3);
    Columns columns(*row);
    ends.last_row.sequence = columns.number();
    take_hash(columns, ends.last_row.hash);
    return ends;
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
    return row ? take_head(t, *row) : std::nullopt;
}

// A head that fits neither its MAC nor the rows must not stop us: revocations are written through here. The
// chain goes on from the last row that is there, and a row says for good that it was broken at this place.
Status take_up_chain(Transaction& t) {
    LK_TRY(ends, read_ends(t));
    const auto& [head, last] = ends;
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
    return post(t,
                "INSERT INTO chain_head (id, sequence, hash, mac) VALUES (1, $1, $2, $3) "
                "ON CONFLICT (id) DO UPDATE SET sequence = $1, hash = $2, mac = $3",
                head.sequence, ByteView(head.hash), head_mac(t, head));
}

} // namespace latchkey::ledger
