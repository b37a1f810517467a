// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/restore.h"

#include <algorithm>

#include "broker/ledger/audit.h"
#include "broker/ledger/certificates.h"
#include "broker/ledger/clean_text.h"
#include "broker/ledger/detail.h"
#include "broker/ledger/revocation_rows.h"
#include "broker/ledger/revocations.h"
#include "broker/ledger/tables.h"
#include "broker/ledger/users.h"

namespace latchkey::ledger {
namespace {

Result<Epoch> epoch_after(Transaction& t, Epoch at_least) {
    LK_TRY(now, current_epoch(t));
    if (at_least.value == 0) return Epoch{now.value + kLostAtMost};
    if (at_least > now && at_least.value <= INT64_MAX / 2) return at_least;
    return fail(Code::kUsage, "the ledger is at epoch " + std::to_string(now.value) + " already",
                "name a higher one, above what any VM says in latchkey-agent status");
}

// The next certificate's number too: none is given a second time.
Status raise_counters(Transaction& t, Epoch epoch) {
    LK_CHECK(execute_on_one(t, "the epoch", "UPDATE counters SET value = $1 WHERE name = 'epoch'", epoch));
    LK_TRY(last, last_sequence(t));
    t.scratch.sequence = Sequence{last.value + kLostAtMost};
    return {};
}

Status end_what_is_open(Transaction& t) {
    LK_TRY(rows, query(t, "SELECT DISTINCT user_id FROM unlocks WHERE ended_at = 0 AND ends_at > $1", t.now));
    for (const Row& row : rows.rows) LK_CHECK(end_unlocks_of_user(t, Columns(row).id<RowId>()));
    LK_CHECK(execute(t, "DELETE FROM invites")); // one that was used since would open again
    return execute(t, "DELETE FROM join_tokens");
}

Status lock_all_but_admins(Transaction& t, const RevokeAll& how) {
    LK_TRY(users, list_users(t));
    for (const User& user : users) {
        if (user.state != UserState::kActive || user.role == Role::kAdmin) continue;
        LK_CHECK(lock_user(t, user.name, how.reason, how.actor));
    }
    return {};
}

} // namespace

Result<RevocationRow> revoke_all(Transaction& t, const RevokeAll& how) {
    if (!t.scratch.is_writing) return fail(Code::kInternal, "a change inside a reading job");
    LK_TRY(before, current_epoch(t));
    LK_TRY(epoch, epoch_after(t, how.at_least));
    LK_CHECK(raise_counters(t, epoch));
    LK_TRY(coverage, coverage_of_all(t, Micros{INT64_MAX}));
    // A clock that was set back must not leave out what was issued before it was.
    const Micros until = std::max(t.now, coverage.last_issue);
    RevocationRow row;
    row.id = t.new_id();
    row.revocation = {epoch,
                      // Above its own time, unlike one that is made by hand: read_revocations() knows by it
                      // that it stands for the epochs before it.
                      {revocation::SelectorKind::kBefore, std::to_string(until.value + 1)},
                      until,
                      std::max(coverage.last_end, t.now + how.longest_certificate)};
    row.reason = clean_text(how.reason);
    row.actor = clean_text(how.actor);
    LK_CHECK(insert_revocation(t, row));
    LK_CHECK(end_what_is_open(t));
    if (how.accounts == Accounts::kLocked) LK_CHECK(lock_all_but_admins(t, how));
    t.scratch.epoch = epoch;
    t.scratch.has_taken_access = true;
    LK_CHECK(
        append_audit(t, {how.actor, "ledger.revoke_all", "ledger", "done",
                         Detail()
                             .id("from_epoch", before.value)
                             .id("epoch", epoch.value)
                             .text("accounts", how.accounts == Accounts::kLocked ? "locked" : "as they are")
                             .text("reason", row.reason)
                             .time("drop_at", row.revocation.drop_at)
                             .json()}));
    return row;
}

} // namespace latchkey::ledger
