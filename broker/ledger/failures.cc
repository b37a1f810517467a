// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <iterator>

#include "broker/ledger/audit.h"
#include "broker/ledger/detail.h"
#include "broker/ledger/tables.h"
#include "broker/ledger/users.h"
#include "core/wire/reader.h"

namespace latchkey::ledger {
namespace {

constexpr std::size_t kMostFailures = 5;
constexpr Micros kWindow = from_seconds(15 * 60);
constexpr Micros kBlocks[] = {from_seconds(60), from_seconds(5 * 60), from_seconds(30 * 60),
                              from_seconds(120 * 60)};

struct Record {
    std::vector<Micros> times; // within the window, oldest first
    std::uint64_t level = 0;
    Micros blocked_until;
};

// A record that does not parse counts as none of its failures, but keeps its block.
Result<Record> read_record(Transaction& t, RowId user) {
    Record record;
    LK_TRY(row, query_one(t, "SELECT times, level, blocked_until FROM failures WHERE user_id = $1", user));
    if (!row) return record;
    Columns columns(*row);
    const Bytes encoded = columns.bytes();
    record.level = columns.number();
    record.blocked_until = columns.micros();
    wire::Reader reader(encoded);
    while (auto time = reader.u64()) {
        const Micros at{static_cast<std::int64_t>(*time)};
        if (at > t.now - kWindow && at <= t.now && record.times.size() < kMostFailures)
            record.times.push_back(at);
    }
    return record;
}

Status write_record(Transaction& t, RowId user, const Record& record) {
    wire::Writer writer;
    for (const Micros time : record.times) writer.u64(static_cast<std::uint64_t>(time.value));
    return execute(t,
                   "INSERT INTO failures (user_id, times, level, blocked_until) VALUES ($1, $2, $3, $4) "
                   "ON CONFLICT (user_id) DO UPDATE SET times = $2, level = $3, blocked_until = $4",
                   user, writer.bytes(), record.level, record.blocked_until);
}

FailureState state_of(const Transaction& t, const Record& record) {
    FailureState state;
    state.recent = static_cast<std::uint32_t>(record.times.size());
    if (record.blocked_until > t.now) state.blocked_until = record.blocked_until;
    return state;
}

} // namespace

Result<FailureState> failure_state(Transaction& t, RowId user) {
    LK_TRY(record, read_record(t, user));
    return state_of(t, record);
}

// The wrong code itself is the caller's audit row; the block is ours.
Result<FailureState> note_failure(Transaction& t, RowId user) {
    if (!t.scratch.is_writing) return fail(Code::kInternal, "a change inside a reading job");
    LK_TRY(record, read_record(t, user));
    record.times.push_back(t.now);
    if (record.times.size() >= kMostFailures) {
        const std::uint64_t step = std::min<std::uint64_t>(record.level, std::size(kBlocks) - 1);
        record.times.clear();
        record.blocked_until = t.now + kBlocks[step];
        record.level = step + 1;
        LK_TRY(owner, find_user(t, user));
        LK_CHECK(append_audit(t, {"latchkeyd", "factor.block", owner ? owner->name.str() : "", "deny",
                                  Detail().time("blocked_until", record.blocked_until).json()}));
    }
    LK_CHECK(write_record(t, user, record));
    return state_of(t, record);
}

Status clear_failures(Transaction& t, RowId user) {
    if (!t.scratch.is_writing) return fail(Code::kInternal, "a change inside a reading job");
    return execute(t, "DELETE FROM failures WHERE user_id = $1", user);
}

} // namespace latchkey::ledger
