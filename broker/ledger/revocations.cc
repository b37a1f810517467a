// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/revocations.h"

#include <algorithm>
#include <charconv>

#include "broker/ledger/audit.h"
#include "broker/ledger/clean_text.h"
#include "broker/ledger/detail.h"
#include "broker/ledger/revocation_rows.h"
#include "broker/ledger/tables.h"
#include "broker/ledger/users.h"
#include "broker/ledger/vms.h"

namespace latchkey::ledger {
namespace {

using revocation::Selector;
using revocation::SelectorKind;

// One more than the counter, which is locked by it, and never an epoch that was given before: a counter set
// back by hand must not stop a revocation, and one whose row is gone too (a hand, a failover) has been told:
// whoever has heard of that epoch would take the new one for known.
Result<Epoch> next_epoch(Transaction& t) {
    LK_TRY(counter,
           query_one(t, "UPDATE counters SET value = value + 1 WHERE name = 'epoch' RETURNING value"));
    LK_TRY(last, query_one(t, "SELECT COALESCE(MAX(epoch), 0) FROM revocations"));
    const std::uint64_t last_given =
        std::max(last ? Columns(*last).number() : 0, t.scratch.least_epoch.value);
    if (last_given >= INT64_MAX) {
        return fail(Code::kTampered, "the database's epoch was set to the last one that there can be",
                    "restore the last backup");
    }
    const std::uint64_t after_last = last_given + 1;
    const std::uint64_t counted = counter ? Columns(*counter).number() : 0;
    if (counted == after_last) return Epoch{counted};
    t.tampered.note("counters", 1);
    if (counted > after_last) return Epoch{counted}; // rows are gone: readers take the gap as such
    LK_CHECK(execute(t,
                     "INSERT INTO counters (name, value) VALUES ('epoch', $1) "
                     "ON CONFLICT (name) DO UPDATE SET value = $1",
                     after_last));
    return Epoch{after_last};
}

std::string audit_object(const Selector& selector) {
    if (selector.kind == SelectorKind::kUser) return selector.text;
    return std::string(selector.kind_name()) + ":" + selector.text;
}

// For a row whose name was changed by hand: the audit still knows what it was.
Result<bool> is_in_audit(Transaction& t, const std::string& object) {
    LK_TRY(row, query_one(t, "SELECT 1 FROM audit WHERE object = $1 LIMIT 1", object));
    return row.has_value();
}

constexpr const char* kLiveOfUser =
    "SELECT COALESCE(MAX(ends_at), 0), COALESCE(MAX(issued_at), 0), COUNT(*) FROM certificates "
    "WHERE user_id IN (SELECT id FROM users WHERE name = $1) AND ends_at > $2";
constexpr const char* kLiveOfKey =
    "SELECT COALESCE(MAX(ends_at), 0), COALESCE(MAX(issued_at), 0), COUNT(*) FROM certificates "
    "WHERE key_fingerprint = $1 AND ends_at > $2";
constexpr const char* kLiveOfCa =
    "SELECT COALESCE(MAX(ends_at), 0), COALESCE(MAX(issued_at), 0), COUNT(*) FROM certificates "
    "WHERE ca_fingerprint = $1 AND ends_at > $2";

struct Covered {
    bool was_here = false;
    Coverage coverage;
};

Result<Covered> live_of(Transaction& t, const char* sql, const std::string& text) {
    LK_TRY(row, query_one(t, sql, text, t.now));
    Covered covered;
    if (!row) return covered;
    Columns columns(*row);
    covered.coverage = {columns.micros(), columns.micros()};
    covered.was_here = columns.number() > 0;
    return covered;
}

Result<Covered> named(Transaction& t, const char* known_sql, const char* live_sql, const Selector& selector) {
    LK_TRY(covered, live_of(t, live_sql, selector.text));
    if (covered.was_here) return covered;
    LK_TRY(row, query_one(t, known_sql, selector.text));
    covered.was_here = row.has_value();
    return covered;
}

Result<Covered> all_live(Transaction& t, Micros issued_until, bool was_here) {
    LK_TRY(coverage, coverage_of_all(t, issued_until));
    return Covered{was_here, coverage};
}

Result<Covered> cover_user(Transaction& t, const Selector& selector) {
    LK_TRY(covered, named(t, "SELECT 1 FROM users WHERE name = $1 LIMIT 1", kLiveOfUser, selector));
    if (covered.was_here) return covered;
    LK_TRY(was_here, is_in_audit(t, audit_object(selector)));
    return all_live(t, t.now, was_here);
}

Result<Covered> cover_certificate(Transaction& t, std::uint64_t serial) {
    LK_TRY(row, query_one(t, "SELECT ends_at, issued_at FROM certificates WHERE serial = $1", serial));
    if (!row) return Covered{};
    Columns columns(*row);
    return Covered{true, {columns.micros(), columns.micros()}};
}

Result<Covered> cover_vm(Transaction& t, const Selector& selector) {
    LK_TRY(row, query_one(t, "SELECT 1 FROM vms WHERE name = $1 LIMIT 1", selector.text));
    bool was_here = row.has_value();
    if (!was_here) {
        LK_TRY(in_audit, is_in_audit(t, audit_object(selector)));
        was_here = in_audit;
    }
    return all_live(t, t.now, was_here);
}

Result<Covered> cover(Transaction& t, const Selector& selector) {
    std::int64_t number = 0;
    std::from_chars(selector.text.data(), selector.text.data() + selector.text.size(), number);
    switch (selector.kind) {
        case SelectorKind::kUser:
            return cover_user(t, selector);
        case SelectorKind::kKey:
            return named(t, "SELECT 1 FROM keys WHERE fingerprint = $1 LIMIT 1", kLiveOfKey, selector);
        case SelectorKind::kCertificate:
            return cover_certificate(t, static_cast<std::uint64_t>(number));
        case SelectorKind::kVm:
            return cover_vm(t, selector);
        case SelectorKind::kCa:
            return named(t, "SELECT 1 FROM certificates WHERE ca_fingerprint = $1 LIMIT 1", kLiveOfCa,
                         selector);
        case SelectorKind::kBefore:
            return all_live(t, {number}, true);
    }
    return Covered{};
}

Status check_selector(const Transaction& t, const Selector& selector) {
    LK_TRY(parsed, Selector::parse(selector.kind_name(), selector.text));
    if (parsed.kind != SelectorKind::kBefore) return {};
    std::int64_t until = 0;
    std::from_chars(selector.text.data(), selector.text.data() + selector.text.size(), until);
    if (until <= t.now.value) return {};
    return fail(Code::kUsage, "cannot revoke what will be issued later", "give a time that has passed");
}

Status take_account(Transaction& t, const Selector& selector, const std::string& reason,
                    const std::string& actor) {
    LK_TRY(name, UserName::parse(selector.text));
    LK_TRY(user, find_user(t, name));
    if (user && user->state == UserState::kActive) {
        return lock_user(t, name, "revoked: " + reason, actor);
    }
    LK_TRY(rows, query(t, "SELECT id FROM users WHERE name = $1", name));
    for (const Row& row : rows.rows) LK_CHECK(end_unlocks_of_user(t, Columns(row).id<RowId>()));
    return {};
}

Status take_key(Transaction& t, const Selector& selector) {
    LK_TRY(fingerprint, Fingerprint::parse(selector.text));
    return remove_keys_with(t, fingerprint);
}

Status take_vm_away(Transaction& t, const Selector& selector, const std::string& actor) {
    LK_TRY(name, VmName::parse(selector.text));
    const Status removed = remove_vm(t, name, actor);
    if (!removed && removed.error().code == Code::kNotFound) return {}; // removed before
    return removed;
}

// What the selector names loses its standing here too, not only what it holds out there.
Status take_subject(Transaction& t, const Selector& selector, const std::string& reason,
                    const std::string& actor) {
    // Every VM that hears of the revocation drops what it covers: it need not ask again for all else it
    // holds, and which logins are managed depends on no user and no key.
    const bool had_taken_access = t.scratch.has_taken_access;
    const bool had_policy_changed = t.scratch.has_policy_changed;
    Status taken;
    if (selector.kind == SelectorKind::kUser) taken = take_account(t, selector, reason, actor);
    if (selector.kind == SelectorKind::kKey) taken = take_key(t, selector);
    if (selector.kind == SelectorKind::kVm) taken = take_vm_away(t, selector, actor);
    t.scratch.has_taken_access = had_taken_access;
    if (selector.kind != SelectorKind::kVm) t.scratch.has_policy_changed = had_policy_changed;
    return taken;
}

} // namespace

Result<RevocationRow> revoke(Transaction& t, const Selector& selector, const std::string& reason,
                             const std::string& actor) {
    if (!t.scratch.is_writing) return fail(Code::kInternal, "a change inside a reading job");
    LK_CHECK(check_selector(t, selector));
    LK_TRY(epoch, next_epoch(t));
    LK_TRY(covered, cover(t, selector));
    if (!covered.was_here) {
        return fail(Code::kNotFound,
                    "no " + std::string(selector.kind_name()) + " " + selector.text + " was ever here",
                    "check the spelling");
    }
    RevocationRow row;
    row.id = t.new_id();
    row.reason = clean_text(reason);
    row.actor = clean_text(actor);
    // A clock that was set back must not leave out what was issued before it was.
    const Micros made_at =
        selector.kind == SelectorKind::kBefore ? t.now : std::max(t.now, covered.coverage.last_issue);
    row.revocation = {epoch, selector, made_at, std::max(made_at, covered.coverage.last_end)};
    LK_CHECK(insert_revocation(t, row));
    LK_CHECK(move_ended_epoch(t, epoch));
    LK_CHECK(take_subject(t, selector, row.reason, actor));
    t.scratch.epoch = epoch;
    LK_CHECK(append_audit(t, {actor, "revocation.make", audit_object(selector), "done",
                              Detail()
                                  .id("epoch", epoch.value)
                                  .text("kind", selector.kind_name())
                                  .text("text", selector.text)
                                  .text("reason", row.reason)
                                  .time("drop_at", row.revocation.drop_at)
                                  .json()}));
    return row;
}

Result<Epoch> current_epoch(Transaction& t) {
    LK_TRY(row, query_one(t, "SELECT " LK_EPOCH_COLUMNS));
    if (!row) return Epoch{};
    Columns columns(*row);
    return take_epoch(columns);
}

Result<std::vector<RevocationRow>> revocations_after(Transaction& t, Epoch after) {
    LK_TRY(rows, read_revocations(t, std::max(after, ended_epoch(t))));
    std::erase_if(rows, [&](const RevocationRow& row) { return row.revocation.drop_at <= t.now; });
    return rows;
}

Result<std::vector<RevocationRow>> list_revocations(Transaction& t) {
    LK_TRY(rows, read_revocations(t, Epoch{0}));
    std::ranges::reverse(rows);
    return rows;
}

Result<std::optional<RevocationRow>> find_revocation(Transaction& t, Epoch epoch) {
    return read_revocation(t, epoch);
}

} // namespace latchkey::ledger
