// SPDX-License-Identifier: Apache-2.0
// revoke user|key|cert|vm|ca|before X | revoke ls | revoke show EPOCH
#include <algorithm>

#include "broker/desk/command.h"
#include "broker/desk/revoke_answers.h"
#include "broker/desk/text.h"
#include "broker/ledger/certificates.h"
#include "broker/ledger/revocations.h"
#include "broker/ledger/users.h"
#include "core/receipt/receipt.h"

namespace latchkey::desk {
namespace {

using ledger::Role;
using revocation::Selector;
using revocation::SelectorKind;

constexpr Micros kDefaultWait = from_seconds(5);
constexpr Micros kLongestWait = from_seconds(600);

Result<Selector> selector_asked(Call& call, const std::string& kind, const std::string& text) {
    if (kind == "before") {
        LK_TRY(at, parse_time(text, call.now(), "the time"));
        return Selector::parse(kind, std::to_string(at.value));
    }
    return Selector::parse(kind, text);
}

Result<bool> is_own(const Call& call, ledger::Transaction& t, const Selector& selector) {
    if (selector.kind == SelectorKind::kKey) {
        LK_TRY(fingerprint, Fingerprint::parse(selector.text));
        LK_TRY(key, ledger::find_key(t, fingerprint));
        return key && key->user == call.user.id;
    }
    if (selector.kind == SelectorKind::kCertificate) {
        LK_TRY(serial, parse_number(selector.text, "the serial"));
        LK_TRY(row, ledger::find_certificate(t, Serial{serial}));
        return row && row->user == call.user.id;
    }
    return false;
}

// People take away what is their own; everything else is an admin's.
Status check_right(const Call& call, ledger::Transaction& t, const Selector& selector) {
    if (call.is_at_least(Role::kAdmin)) return {};
    LK_TRY(own, is_own(call, t, selector));
    if (own) return {};
    return fail(Code::kRefused, "you may revoke keys and certificates of your own", "ask an admin");
}

// After the change: an admin whose account is being stolen may take it away, where another one is left to
// bring it back.
Status check_admin_is_left(ledger::Transaction& t) {
    LK_TRY(users, ledger::list_users(t));
    for (const ledger::User& user : users) {
        if (user.role != Role::kAdmin || user.state != ledger::UserState::kActive) continue;
        LK_TRY(keys, ledger::keys_of(t, user.id));
        if (!keys.empty()) return {};
    }
    return fail(Code::kRefused, "no admin with a key would be left",
                "first add another key, or make another admin: key add, user role U admin");
}

Record record_of(const ledger::RevocationRow& row) {
    return {
        {"epoch", count(row.revocation.epoch.value)},
        {"kind", std::string(row.revocation.selector.kind_name())},
        {"what", row.revocation.selector.text},
        {"made_at", row.revocation.made_at},
        {"drop_at", row.revocation.drop_at},
        {"by", row.actor},
        {"reason", row.reason},
    };
}

Status revoke(Call& call) {
    const Arguments& arguments = call.arguments;
    if (arguments.size() == 1 || !arguments.has("--reason")) {
        return fail(Code::kUsage,
                    arguments.size() == 1 ? "what is to be revoked is missing" : "--reason is missing",
                    "usage: revoke user|key|cert|vm|ca|before X --reason R [--wait 30s]");
    }
    const std::string reason = arguments.one("--reason").value_or("");
    LK_CHECK(check_free_text(reason, "--reason", 256));
    Micros wait = kDefaultWait;
    if (const auto text = arguments.one("--wait")) {
        LK_TRY(span, parse_span(*text, "--wait"));
        wait = std::min(span, kLongestWait);
    }
    LK_TRY(selector, selector_asked(call, arguments.at(0), arguments.at(1)));
    const Micros began = call.context.clock.monotonic();
    LK_TRY(row, call.write([&](ledger::Transaction& t) -> Result<ledger::RevocationRow> {
        LK_CHECK(check_right(call, t, selector));
        LK_TRY(made, ledger::revoke(t, selector, reason, call.actor()));
        if (call.is_at_least(Role::kAdmin)) LK_CHECK(check_admin_is_left(t));
        return made;
    }));
    const Epoch epoch = row.revocation.epoch;
    LK_TRY(waited, await_answers(call, {epoch, began, wait, arguments.has("--wait")}));
    Record record = record_of(row);
    add_answers(record, waited.count, names_for(call));
    record.push_back({"took_ms", waited.took.value / 1000});
    call.done(record, "revoked " + std::string(selector.kind_name()) + " " + selector.text + ", epoch " +
                          std::to_string(epoch.value) + "\n" +
                          answers_line(waited.count, waited.took, call.now(), names_for(call)));
    return check_complete(waited.count);
}

Status ls(Call& call) {
    LK_TRY(found, call.read([&](ledger::Transaction& t) { return ledger::list_revocations(t); }));
    std::vector<Record> rows;
    for (const ledger::RevocationRow& row : found) rows.push_back(record_of(row));
    call.list("revocations", rows, "no revocations");
    return {};
}

// All that the VMs signed, so that a reader can verify it without us: docs/receipts.md.
RawJson receipts_json(const std::vector<ledger::ReceiptRow>& rows) {
    std::vector<receipt::SignedReceipt> receipts;
    receipts.reserve(rows.size());
    for (const ledger::ReceiptRow& row : rows) receipts.push_back({row.vm_name, row.vm_key, row.receipt});
    return {receipt::to_json(receipts)};
}

Status show(Call& call) {
    LK_TRY(number, parse_number(call.arguments.at(0), "the epoch"));
    struct Found {
        ledger::RevocationRow row;
        std::vector<ledger::ReceiptRow> receipts;
    };
    LK_TRY(found, call.read([&](ledger::Transaction& t) -> Result<Found> {
        LK_TRY(row, ledger::find_revocation(t, Epoch{number}));
        if (!row) return fail(Code::kNotFound, "no revocation " + std::to_string(number), "see: revoke ls");
        LK_TRY(receipts, ledger::receipts_for(t, Epoch{number}));
        return Found{std::move(*row), std::move(receipts)};
    }));
    LK_TRY(answers, call.context.fleet.receipts(Epoch{number}));
    Record record = record_of(found.row);
    add_answers(record, answers, VmNames::kShown);
    std::uint64_t sessions_ended = 0;
    for (const hub::VmAnswer& vm : answers.vms) sessions_ended += vm.sessions_ended;
    record.push_back({"sessions_ended", count(sessions_ended)});
    const std::vector<Record> rows = answer_rows(answers);
    if (call.arguments.wants_json()) {
        record.push_back({"vms", rows_json(rows)});
        record.push_back({"receipts", receipts_json(found.receipts)});
        call.object(record);
        return {};
    }
    call.console.out(object_text(record) + table_text(rows, call.console.width()));
    return {};
}

} // namespace

std::span<const Command> revoke_commands() {
    static const std::vector<Command> table = {
        {"revoke",
         "user|key|cert|vm|ca|before X --reason R [--wait 30s]",
         "take access away everywhere, at once; keys and certificates of your own, anything for admins",
         Role::kUser,
         Freshness::kRecent,
         1,
         2,
         {{.name = "--reason", .is_text = true}, {"--wait"}},
         revoke},
        {"revoke ls", "", "revocations, newest first", Role::kAuditor, Freshness::kUnlock, 0, 0, {}, ls},
        {"revoke show",
         "EPOCH",
         "one revocation and who has confirmed it",
         Role::kAuditor,
         Freshness::kUnlock,
         1,
         1,
         {},
         show},
    };
    return table;
}

} // namespace latchkey::desk
