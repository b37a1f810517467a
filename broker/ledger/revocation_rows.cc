// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/revocation_rows.h"

#include <algorithm>
#include <charconv>

#include "broker/ledger/audit.h"
#include "broker/ledger/revocations.h"
#include "broker/ledger/rows.h"
#include "core/wire/reader.h"

namespace latchkey::ledger {
namespace {

constexpr std::string_view kRevocationTable = "revocations";
const std::string kEndedSetting = "revocations.ended";
constexpr std::uint64_t kMoveEvery = 256; // epochs

Bytes encode(const RevocationRow& row) {
    wire::Writer writer;
    writer.u64(row.id.value);
    writer.string(row.revocation.selector.kind_name());
    writer.string(row.revocation.selector.text);
    writer.u64(static_cast<std::uint64_t>(row.revocation.made_at.value));
    writer.u64(static_cast<std::uint64_t>(row.revocation.drop_at.value));
    writer.string(row.reason);
    writer.string(row.actor);
    return writer.take();
}

Result<RevocationRow> decode(Epoch epoch, ByteView record) {
    wire::Reader reader(record);
    RevocationRow row;
    LK_TRY(id, reader.u64());
    LK_TRY(kind, reader.text());
    LK_TRY(text, reader.text());
    LK_TRY(made_at, reader.u64());
    LK_TRY(drop_at, reader.u64());
    LK_TRY(reason, reader.text());
    LK_TRY(actor, reader.text());
    LK_CHECK(reader.expect_end());
    LK_TRY(selector, revocation::Selector::parse(kind, text));
    row.id = {id};
    row.revocation = {
        epoch, selector, {static_cast<std::int64_t>(made_at)}, {static_cast<std::int64_t>(drop_at)}};
    row.reason = std::string(reason);
    row.actor = std::string(actor);
    return row;
}

std::optional<RevocationRow> take_revocation(const Transaction& t, const Row& row, Epoch& epoch) {
    Columns columns(row);
    epoch = columns.id<Epoch>();
    const Bytes record = columns.bytes();
    const Bytes mac = columns.bytes();
    if (!columns.is_good() || !t.sealer.fits({kRevocationTable, epoch.value, 1}, record, mac))
        return std::nullopt;
    auto decoded = decode(epoch, record);
    if (!decoded) return std::nullopt;
    return *std::move(decoded);
}

// A ledger that was set back (restore.h) leaves epochs out, and revokes everything up to a time above its
// own: whatever those epochs were, it says more.
bool stands_for_all_before(const RevocationRow* known) {
    if (known == nullptr || known->revocation.selector.kind != revocation::SelectorKind::kBefore)
        return false;
    const std::string& text = known->revocation.selector.text;
    std::int64_t until = 0;
    std::from_chars(text.data(), text.data() + text.size(), until);
    return until > known->revocation.made_at.value;
}

// `known` is the next revocation that we know, if any: the lost one was made before it.
Result<RevocationRow> stand_in(Transaction& t, Epoch epoch, const RevocationRow* known) {
    t.tampered.note(kRevocationTable, epoch.value);
    const Micros until = known != nullptr ? known->revocation.made_at : t.now;
    LK_TRY(coverage, coverage_of_all(t, until));
    RevocationRow row;
    row.revocation = {epoch,
                      {revocation::SelectorKind::kBefore, std::to_string(until.value + 1)},
                      until,
                      std::max(until, coverage.last_end)};
    row.reason = "the revocation's row is lost or fails its check: all before it is revoked";
    row.actor = "latchkeyd";
    return row;
}

} // namespace

Status insert_revocation(Transaction& t, const RevocationRow& row) {
    const Bytes record = encode(row);
    const revocation::Revocation& made = row.revocation;
    return execute(
        t,
        "INSERT INTO revocations (epoch, id, kind, text, made_at, drop_at, reason, actor, record, mac) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        made.epoch, row.id, made.selector.kind_name(), made.selector.text, made.made_at, made.drop_at,
        row.reason, row.actor, record, t.sealer.mac({kRevocationTable, made.epoch.value, 1}, record));
}

Result<Coverage> coverage_of_all(Transaction& t, Micros issued_until) {
    LK_TRY(row, query_one(t,
                          "SELECT COALESCE(MAX(ends_at), 0), COALESCE(MAX(issued_at), 0) FROM certificates "
                          "WHERE ends_at > $1 AND issued_at <= $2",
                          t.now, issued_until));
    if (!row) return Coverage{};
    Columns columns(*row);
    return Coverage{columns.micros(), columns.micros()};
}

Result<std::vector<RevocationRow>> read_revocations(Transaction& t, Epoch after) {
    LK_TRY(newest, current_epoch(t));
    LK_TRY(rows, query(t, "SELECT epoch, record, mac FROM revocations WHERE epoch > $1 ORDER BY epoch DESC",
                       after));
    std::vector<RevocationRow> found; // newest first: the next known one is at hand
    const RevocationRow* known = nullptr;
    std::uint64_t due = newest.value;
    found.reserve(rows.rows.size() * 2 + 1); // `known` points into it: one stand-in a row at most, and one
    const auto close_gap = [&](std::uint64_t down_to) -> Status {
        if (due <= down_to || stands_for_all_before(known)) return {};
        LK_TRY(row, stand_in(t, {due}, known));
        found.push_back(std::move(row));
        return {};
    };
    for (const Row& row : rows.rows) {
        Epoch epoch;
        auto taken = take_revocation(t, row, epoch);
        LK_CHECK(close_gap(epoch.value));
        if (taken) {
            found.push_back(std::move(*taken));
            known = &found.back();
        } else {
            LK_TRY(replaced, stand_in(t, epoch, known));
            found.push_back(std::move(replaced));
        }
        due = epoch.value == 0 ? 0 : epoch.value - 1;
    }
    LK_CHECK(close_gap(after.value));
    std::ranges::reverse(found);
    return found;
}

Result<std::optional<RevocationRow>> read_revocation(Transaction& t, Epoch epoch) {
    if (epoch.value == 0) return std::optional<RevocationRow>();
    LK_TRY(row, query_one(t, "SELECT epoch, record, mac FROM revocations WHERE epoch = $1", epoch));
    Epoch found;
    if (row) {
        if (auto taken = take_revocation(t, *row, found)) return taken;
    }
    LK_TRY(rows, read_revocations(t, Epoch{epoch.value - 1}));
    if (rows.empty()) return std::optional<RevocationRow>();
    return std::optional<RevocationRow>(std::move(rows.front()));
}

Epoch ended_epoch(Transaction& t) {
    const auto setting = get_setting(t, kEndedSetting);
    std::uint64_t epoch = 0;
    if (setting && *setting)
        std::from_chars((*setting)->data(), (*setting)->data() + (*setting)->size(), epoch);
    return {epoch};
}

Status move_ended_epoch(Transaction& t, Epoch newest) {
    if (newest.value % kMoveEvery != 0) return {};
    const Epoch before = ended_epoch(t);
    LK_TRY(rows, read_revocations(t, before));
    Epoch ended = before;
    for (const RevocationRow& row : rows) {
        if (row.revocation.drop_at > t.now) break;
        ended = row.revocation.epoch;
    }
    if (ended == before) return {};
    return put_setting(t, kEndedSetting, std::to_string(ended.value));
}

} // namespace latchkey::ledger
