// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/audit.h"

#include <algorithm>

#include "broker/ledger/chain.h"
#include "broker/ledger/clean_text.h"
#include "broker/ledger/rows.h"

namespace latchkey::ledger {
namespace {

constexpr std::size_t kDetailLimit = 64 * 1024;
constexpr std::uint32_t kPage = 500;

#define LK_AUDIT_COLUMNS "sequence, made_at, actor, action, object, outcome, detail, hash"

std::optional<AuditRow> take_audit(const Row& row) {
    Columns columns(row);
    AuditRow audit;
    audit.sequence = columns.number();
    audit.at = columns.micros();
    audit.event.actor = columns.text();
    audit.event.action = columns.text();
    audit.event.object = columns.text();
    audit.event.outcome = columns.text();
    audit.event.detail = columns.text();
    audit.hash = columns.bytes();
    if (!columns.is_good()) return std::nullopt;
    return audit;
}

Result<plugin_host::Rows> page_before(Transaction& t, std::int64_t sequence, const AuditFilter& filter) {
    if (!filter.user) {
        return query(t,
                     "SELECT " LK_AUDIT_COLUMNS
                     " FROM audit WHERE sequence < $1 "
                     "ORDER BY sequence DESC LIMIT $2",
                     sequence, kPage);
    }
    return query(t,
                 "SELECT " LK_AUDIT_COLUMNS
                 " FROM audit WHERE sequence < $1 AND (actor = $3 OR object = $3) "
                 "ORDER BY sequence DESC LIMIT $2",
                 sequence, kPage, *filter.user);
}

Result<plugin_host::Rows> page_after(Transaction& t, std::uint64_t sequence, const AuditFilter& filter) {
    if (!filter.user) {
        return query(t,
                     "SELECT " LK_AUDIT_COLUMNS
                     " FROM audit WHERE sequence > $1 AND made_at >= $3 ORDER BY sequence LIMIT $2",
                     sequence, filter.limit, filter.since);
    }
    return query(t,
                 "SELECT " LK_AUDIT_COLUMNS
                 " FROM audit WHERE sequence > $1 AND made_at >= $3 "
                 "AND (actor = $4 OR object = $4) ORDER BY sequence LIMIT $2",
                 sequence, filter.limit, filter.since, *filter.user);
}

Failure broken_at(std::uint64_t sequence, const std::string& why) {
    return fail(Code::kTampered, "audit row " + std::to_string(sequence) + " " + why,
                "keep a copy of the database and compare it with a backup or an exported audit");
}

// One row against the chain so far.
Status check_next(const Row& row, ChainHead& head) {
    const auto audit = take_audit(row);
    const std::uint64_t due = head.sequence + 1;
    if (!audit) return broken_at(due, "is not as we wrote it");
    if (audit->sequence != due) return broken_at(due, "is missing");
    head.hash = chain_hash(head.hash, due, audit->at, audit->event);
    if (!equal(head.hash, audit->hash)) return broken_at(due, "does not fit the chain");
    if (audit->event.action == kChainBroken) return broken_at(due, "marks a break in the chain before it");
    head.sequence = due;
    return {};
}

// A user stands by name alone, as an object as well as as an actor: so one name finds both.
std::string object_name(std::string_view object) {
    static constexpr std::string_view prefix = "user:";
    return clean_text(object.starts_with(prefix) ? object.substr(prefix.size()) : object);
}

} // namespace

Status append_audit(Transaction& t, const AuditEvent& event) {
    if (!t.scratch.is_writing) return fail(Code::kInternal, "a change inside a reading job");
    if (!t.scratch.head) LK_CHECK(take_up_chain(t));
    const AuditEvent clean{clean_text(event.actor), clean_text(event.action), object_name(event.object),
                           clean_text(event.outcome), clean_text(event.detail, kDetailLimit)};
    const std::uint64_t sequence = t.scratch.head->sequence + 1;
    const ChainHash hash = chain_hash(t.scratch.head->hash, sequence, t.now, clean);
    LK_CHECK(post(t, "INSERT INTO audit (" LK_AUDIT_COLUMNS ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
                  sequence, t.now, clean.actor, clean.action, clean.object, clean.outcome, clean.detail,
                  ByteView(hash)));
    t.scratch.head = ChainHead{sequence, hash};
    return {};
}

// Rows are in the order of time but for a clock that was set back: so we stop at a page that is all too old.
Result<std::vector<AuditRow>> list_audit(Transaction& t, const AuditFilter& filter) {
    std::vector<AuditRow> found;
    std::int64_t before = INT64_MAX;
    for (;;) {
        LK_TRY(page, page_before(t, before, filter));
        bool has_recent = false;
        for (const Row& row : page.rows) {
            auto audit = take_audit(row);
            if (!audit || audit->at < filter.since) continue;
            has_recent = true;
            found.push_back(std::move(*audit));
            if (found.size() >= filter.limit) return found;
        }
        if (!has_recent || page.rows.size() < kPage) return found;
        before = Columns(page.rows.back()).integer();
    }
}

Result<AuditPage> audit_after(Transaction& t, std::uint64_t sequence, const AuditFilter& filter) {
    LK_TRY(rows, page_after(t, sequence, filter));
    AuditPage page;
    page.last = sequence;
    page.is_end = rows.rows.size() < filter.limit;
    for (const Row& row : rows.rows) {
        page.last = Columns(row).number();
        if (auto audit = take_audit(row)) page.rows.push_back(std::move(*audit));
    }
    return page;
}

Result<AuditCheck> verify_audit_page(Transaction& t, const AuditCheck& so_far) {
    AuditCheck check = so_far;
    ChainHead& reached = check.reached;
    LK_TRY(page, query(t,
                       "SELECT " LK_AUDIT_COLUMNS " FROM audit WHERE sequence > $1 "
                       "ORDER BY sequence LIMIT $2",
                       reached.sequence, kPage));
    for (const Row& row : page.rows) LK_CHECK(check_next(row, reached));
    if (page.rows.size() == kPage) return check;
    check.is_end = true;
    LK_TRY(head, read_chain_head(t)); // of the same moment as the last page
    if (!head) return broken_at(reached.sequence, "is the last, and the chain's head does not verify");
    if (reached.sequence < head->sequence) return broken_at(reached.sequence + 1, "is missing");
    if (reached.sequence > head->sequence || reached.hash != head->hash)
        return broken_at(head->sequence + 1, "was not written by the broker");
    return check;
}

Result<std::uint64_t> verify_audit(Transaction& t) {
    AuditCheck check;
    while (!check.is_end) {
        LK_TRY(further, verify_audit_page(t, check));
        check = further;
    }
    return check.reached.sequence;
}

} // namespace latchkey::ledger
