// SPDX-License-Identifier: Apache-2.0
// revoke user|key|cert|vm|ca|before X | revoke ls | revoke show EPOCH
#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "broker/desk/command.h"
#include "broker/desk/text.h"
#include "broker/ledger/certificates.h"
#include "broker/ledger/revocations.h"
#include "broker/ledger/users.h"

namespace latchkey::desk {
namespace {

using ledger::Role;
using revocation::Selector;
using revocation::SelectorKind;

constexpr Micros kDefaultWait = from_seconds(5);
constexpr Micros kLongestWait = from_seconds(600);
constexpr Micros kSlice = from_millis(100); // between two looks at the count
constexpr std::size_t kNamesShown = 5;

std::string seconds_text(Micros span) {
    char text[32] = {};
    const int size = std::snprintf(text, sizeof text, "%.2f s", static_cast<double>(span.value) / 1e6);
    return std::string(text, static_cast<std::size_t>(std::clamp(size, 0, 31)));
}

std::string missing_text(const hub::ReceiptCount::Missing& missing, Micros now) {
    std::string text = missing.name.str();
    if (missing.is_connected) return text + " (connected, has not answered yet)";
    text += " (last seen " + ago_text(missing.last_seen, now);
    return text + (missing.grants_end > now
                       ? ", its grants end in " + span_text(missing.grants_end - now) + ")"
                       : ", it holds no grants)");
}

std::string count_text(const hub::ReceiptCount& count) {
    return std::to_string(count.confirmed) + "/" + std::to_string(count.expected) + " VMs confirmed";
}

std::string missing_list(const hub::ReceiptCount& count, Micros now) {
    std::string text;
    for (std::size_t i = 0; i < count.missing.size() && i < kNamesShown; ++i) {
        text += (i == 0 ? "" : ", ") + missing_text(count.missing[i], now);
    }
    if (count.missing.size() > kNamesShown) {
        text += " and " + std::to_string(count.missing.size() - kNamesShown) + " more";
    }
    return text;
}

Result<Selector> selector_asked(Call& call, const std::string& kind, const std::string& text) {
    if (kind == "before") {
        LK_TRY(at, parse_time(text, call.now(), "the time"));
        return Selector::parse(kind, std::to_string(at.value));
    }
    return Selector::parse(kind, text);
}

// People take away what is their own; everything else is an admin's.
Status check_right(Call& call, const Selector& selector) {
    if (call.is_at_least(Role::kAdmin)) return {};
    LK_TRY(is_own, call.read([&](ledger::Transaction& t) -> Result<bool> {
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
    }));
    if (is_own) return {};
    return fail(Code::kRefused, "you may revoke keys and certificates of your own", "ask an admin");
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

void add_count(Record& record, const hub::ReceiptCount& receipts) {
    std::vector<std::string> names;
    for (const auto& missing : receipts.missing) names.push_back(missing.name.str());
    record.push_back({"vms_expected", count(receipts.expected)});
    record.push_back({"vms_confirmed", count(receipts.confirmed)});
    record.push_back({"vms_missing", names});
}

// Counts until all connected VMs have answered; where a wait was asked for, until all have, or it is over.
Result<hub::ReceiptCount> await_receipts(Call& call, Epoch epoch, Micros wait, bool waits_for_all,
                                         Micros began) {
    const bool is_live = call.console.is_terminal() && !call.arguments.wants_json();
    Fleet& fleet = call.context.fleet;
    const Micros deadline = began + wait;
    std::string shown;
    for (;;) {
        const Micros now = call.context.clock.monotonic();
        const bool is_answered = fleet.wait_receipts(epoch, std::min(deadline, now + kSlice));
        LK_TRY(receipts, fleet.receipts(epoch));
        const Micros after = call.context.clock.monotonic();
        const std::string line = count_text(receipts);
        if (is_live && line != shown) {
            call.console.err("\r" + line + " in " + seconds_text(after - began) + "   ");
            shown = line;
        }
        const bool is_done = receipts.is_complete() || (is_answered && !waits_for_all) || after >= deadline;
        // All connected ones have answered and the caller waits for the others too: time must pass.
        const bool goes_on = !is_done && (is_answered ? call.console.pause(kSlice) : !call.console.is_gone());
        if (!goes_on) {
            if (is_live) call.console.err("\r");
            return receipts;
        }
    }
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
    LK_CHECK(check_right(call, selector));
    const Micros began = call.context.clock.monotonic();
    LK_TRY(row, call.write([&](ledger::Transaction& t) {
        return ledger::revoke(t, selector, reason, call.actor());
    }));
    const Epoch epoch = row.revocation.epoch;
    LK_TRY(receipts, await_receipts(call, epoch, wait, arguments.has("--wait"), began));
    const Micros took = call.context.clock.monotonic() - began;
    Record record = record_of(row);
    add_count(record, receipts);
    record.push_back({"took_ms", took.value / 1000});
    std::string sentence = "revoked " + std::string(selector.kind_name()) + " " + selector.text + ", epoch " +
                           std::to_string(epoch.value) + "\n" + count_text(receipts) + " in " +
                           seconds_text(took);
    if (!receipts.is_complete()) {
        sentence += "; " + std::to_string(receipts.missing.size()) +
                    " unreachable: " + missing_list(receipts, call.now());
    }
    call.done(record, sentence);
    if (receipts.is_complete()) return {};
    return fail(Code::kPartial, std::to_string(receipts.missing.size()) + " VMs have not confirmed yet",
                "look again with: revoke show " + std::to_string(epoch.value));
}

Status ls(Call& call) {
    LK_TRY(found, call.read([&](ledger::Transaction& t) { return ledger::list_revocations(t); }));
    std::vector<Record> rows;
    for (const ledger::RevocationRow& row : found) rows.push_back(record_of(row));
    call.list("revocations", rows, "no revocations");
    return {};
}

// All that the VM signed, so that a reader can verify the receipt without us: docs/protocol-hub.md.
RawJson receipts_json(const std::vector<ledger::ReceiptRow>& rows) {
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (const ledger::ReceiptRow& row : rows) {
        const protocol::Receipt& receipt = row.receipt;
        list.push_back({{"vm", row.vm_name.str()},
                        {"epoch", receipt.epoch.value},
                        {"vm_id", std::to_string(receipt.vm_id.value)},
                        {"sessions_found", receipt.sessions_found},
                        {"sessions_ended", receipt.sessions_ended},
                        {"grants_purged", receipt.grants_purged},
                        {"time_micros", receipt.time.value},
                        {"trouble", receipt.trouble},
                        {"signature", to_base64(receipt.signature)}});
    }
    // A VM's words may be anything: what is not UTF-8 is replaced.
    return {list.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace)};
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
    LK_TRY(receipts, call.context.fleet.receipts(Epoch{number}));
    Record record = record_of(found.row);
    add_count(record, receipts);
    std::uint64_t sessions_ended = 0;
    for (const ledger::ReceiptRow& receipt : found.receipts) sessions_ended += receipt.receipt.sessions_ended;
    record.push_back({"sessions_ended", count(sessions_ended)});
    if (call.arguments.wants_json()) {
        record.push_back({"receipts", receipts_json(found.receipts)});
        call.object(record);
        return {};
    }
    std::string text = object_text(record);
    for (const auto& missing : receipts.missing)
        text += "missing: " + missing_text(missing, call.now()) + "\n";
    for (const ledger::ReceiptRow& row : found.receipts) {
        text += "receipt: " + row.vm_name.str() + ", " + time_text(row.received_at) + ", sessions ended " +
                std::to_string(row.receipt.sessions_ended) + " of " +
                std::to_string(row.receipt.sessions_found);
        if (!row.receipt.trouble.empty()) text += ", trouble: " + printable(row.receipt.trouble);
        text += "\n";
    }
    call.console.out(text);
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
        {"revoke ls", "", "revocations, newest first", Role::kAuditor, Freshness::kNone, 0, 0, {}, ls},
        {"revoke show",
         "EPOCH",
         "one revocation and who has confirmed it",
         Role::kAuditor,
         Freshness::kNone,
         1,
         1,
         {},
         show},
    };
    return table;
}

} // namespace latchkey::desk
