// SPDX-License-Identifier: Apache-2.0
// audit ls | verify | export
#include "broker/ledger/audit.h"
#include "broker/desk/command.h"
#include "broker/desk/text.h"

namespace latchkey::desk {
namespace {

using ledger::Role;

constexpr std::uint32_t kMaxRows = 10000;
constexpr std::uint32_t kPage = 1000; // a read job each

Record row_of(const ledger::AuditRow& row) {
    return {
        {"sequence", count(row.sequence)},
        {"at", row.at},
        {"actor", row.event.actor},
        {"action", row.event.action},
        {"object", text_or_null(row.event.object)},
        {"outcome", row.event.outcome},
        {"hash", to_hex(row.hash), Shown::kJsonOnly},
        {"detail", row.event.detail.empty() ? Value() : Value(RawJson{row.event.detail})},
    };
}

Result<ledger::AuditFilter> filter_asked(const Call& call) {
    ledger::AuditFilter filter;
    if (const auto since = call.arguments.one("--since")) {
        LK_TRY(at, parse_time(*since, call.now(), "--since"));
        filter.since = at;
    }
    if (const auto user = call.arguments.one("--user")) {
        LK_TRY(name, UserName::parse(*user));
        filter.user = name;
    }
    if (const auto limit = call.arguments.one("--limit")) {
        LK_TRY(rows, parse_number(*limit, "--limit"));
        if (rows == 0 || rows > kMaxRows) return fail(Code::kUsage, "--limit is 1 to 10000");
        filter.limit = static_cast<std::uint32_t>(rows);
    }
    return filter;
}

Status ls(Call& call) {
    LK_TRY(filter, filter_asked(call));
    if (!call.is_at_least(Role::kAuditor)) {
        if (filter.user && *filter.user != call.user.name)
            LK_CHECK(call.require(Role::kAuditor, "another's audit"));
        filter.user = call.user.name;
    }
    LK_TRY(found, call.read([&](ledger::Transaction& t) { return ledger::list_audit(t, filter); }));
    std::vector<Record> rows;
    for (const ledger::AuditRow& row : found) rows.push_back(row_of(row));
    call.list("events", rows, "no events");
    return {};
}

Status verify(Call& call) {
    ledger::AuditCheck check;
    while (!check.is_end) {
        LK_TRY(further,
               call.read([&](ledger::Transaction& t) { return ledger::verify_audit_page(t, check); }));
        check = further;
        if (call.console.is_gone()) return fail(Code::kUnavailable, "the reader is gone");
    }
    const std::uint64_t rows = check.reached.sequence;
    call.done({{"rows", count(rows)}, {"intact", true}},
              "the chain is intact: " + std::to_string(rows) + " rows");
    return {};
}

// One JSON object a line, oldest first: all of them, however many.
Status export_rows(Call& call) {
    LK_TRY(filter, filter_asked(call));
    filter.limit = kPage;
    ledger::AuditPage page;
    while (!page.is_end) {
        LK_TRY(next,
               call.read([&](ledger::Transaction& t) { return ledger::audit_after(t, page.last, filter); }));
        page = std::move(next);
        std::string text;
        for (const ledger::AuditRow& row : page.rows) text += line_json(row_of(row));
        call.console.out(text);
        if (call.console.is_gone()) return fail(Code::kUnavailable, "the reader is gone");
    }
    return {};
}

} // namespace

std::span<const Command> audit_commands() {
    static const std::vector<Command> table = {
        {"audit ls",
         "[--since 1h] [--user U] [--limit N]",
         "events, newest first; your own, or all for auditors",
         Role::kUser,
         Freshness::kAudit,
         0,
         0,
         {{"--since"}, {"--user"}, {"--limit"}},
         ls},
        {"audit verify", "", "recompute the chain", Role::kAuditor, Freshness::kUnlock, 0, 0, {}, verify},
        {"audit export",
         "[--since 1h] [--user U]",
         "events as JSON lines, oldest first",
         Role::kAuditor,
         Freshness::kUnlock,
         0,
         0,
         {{"--since"}, {"--user"}},
         export_rows},
    };
    return table;
}

} // namespace latchkey::desk
