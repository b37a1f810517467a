// SPDX-License-Identifier: Apache-2.0
// What a person does for themselves: status, cert, renew, unlock, lock, whoami, help.
#include <algorithm>

#include "broker/desk/command.h"
#include "broker/desk/text.h"
#include "broker/ledger/certificates.h"
#include "broker/ledger/factors.h"
#include "broker/ledger/policy_rows.h"
#include "core/cert/certificate.h"

namespace latchkey::desk {
namespace {

using ledger::Role;

struct OwnStanding {
    std::optional<ledger::CertificateRow> certificate;
    std::string why_none; // where there is no certificate though the unlock is open
    std::vector<std::string> logins;
};

Result<OwnStanding> standing_of(Call& call, bool is_new) {
    OwnStanding standing;
    if (!call.unlock) return standing;
    issue::Issuer& issuer = call.context.issuer;
    auto row = is_new ? issuer.issue(call.user, call.key, *call.unlock, call.actor())
                      : issuer.current(call.user, call.key, *call.unlock, call.actor());
    if (!row) {
        if (row.error().code != Code::kRefused || is_new) return fail(std::move(row).error());
        standing.why_none = row.error().line();
        return standing;
    }
    LK_TRY(certificate, cert::Certificate::from_blob(row->blob));
    standing.logins = certificate.content().principals;
    standing.certificate = std::move(*row);
    return standing;
}

Record record_of(const Call& call, const OwnStanding& standing) {
    const bool is_open = call.unlock.has_value();
    Record record{
        {"user", call.actor()},
        {"role", std::string(role_name(call.user.role))},
        {"key", call.key.fingerprint.str()},
        {"unlocked", is_open},
        {"unlock_ends_at", is_open ? Value(call.unlock->ends_at) : Value()},
        {"factor_at", is_open ? Value(call.unlock->factor_at) : Value()},
    };
    const auto& certificate = standing.certificate;
    record.push_back(
        {"certificate_serial", certificate ? Value(std::to_string(certificate->serial.value)) : Value()});
    record.push_back({"certificate_ends_at", certificate ? Value(certificate->ends_at) : Value()});
    record.push_back({"logins", standing.logins});
    return record;
}

std::string sentence_of(const Call& call, const OwnStanding& standing) {
    const Micros now = call.now();
    if (!call.unlock) {
        return call.actor() + ": locked; nothing is open for key " + call.key.fingerprint.str() +
               "\nopen with: " + call.ssh_line("unlock");
    }
    std::string text = call.actor() + ": unlocked until " + until_text(call.unlock->ends_at, now) +
                       " with key " + call.key.fingerprint.str() + "\n";
    if (!standing.certificate) return text + "no certificate: " + standing.why_none;
    text += "certificate " + std::to_string(standing.certificate->serial.value) + ": valid until " +
            until_text(standing.certificate->ends_at, now) + "\nlogins:";
    for (const std::string& login : standing.logins) text += " " + printable(login);
    return text;
}

Status status(Call& call) {
    LK_TRY(standing, standing_of(call, false));
    call.done(record_of(call, standing), sentence_of(call, standing));
    return {};
}

Status unlock(Call& call) {
    return status(call);
}

Status certificate(Call& call) {
    issue::Issuer& issuer = call.context.issuer;
    LK_TRY(row, call.arguments.has("--new")
                    ? issuer.issue(call.user, call.key, *call.unlock, call.actor())
                    : issuer.current(call.user, call.key, *call.unlock, call.actor()));
    LK_TRY(parsed, cert::Certificate::from_blob(row.blob));
    if (!call.arguments.wants_json()) {
        call.console.out(parsed.line() + "\n");
        return {};
    }
    call.object({{"certificate", parsed.line()},
                 {"serial", std::to_string(row.serial.value)},
                 {"key", row.key_fingerprint.str()},
                 {"logins", parsed.content().principals},
                 {"issued_at", row.issued_at},
                 {"ends_at", row.ends_at}});
    return {};
}

Status renew(Call& call) {
    LK_TRY(standing, standing_of(call, true));
    call.context.fleet.prefetch(call.user, call.key, *call.unlock);
    call.done(record_of(call, standing), sentence_of(call, standing));
    return {};
}

Status lock(Call& call) {
    LK_CHECK(call.write(
        [&](ledger::Transaction& t) { return ledger::end_unlocks(t, call.user.id, call.actor()); }));
    call.done({{"user", call.actor()}, {"unlocked", false}},
              call.actor() + ": locked for all keys; VMs let nobody in by them now, open sessions go on" +
                  "\nto end those too: " + call.ssh_line("revoke key " + call.key.fingerprint.str()));
    return {};
}

Status whoami(Call& call) {
    LK_TRY(groups, call.read([&](ledger::Transaction& t) { return ledger::groups_of(t, call.user.id); }));
    std::vector<std::string> names;
    for (const ledger::Group& group : groups) names.push_back(group.name.str());
    call.object({{"user", call.actor()},
                 {"email", text_or_null(call.user.email)},
                 {"role", std::string(role_name(call.user.role))},
                 {"groups", names},
                 {"key", call.key.fingerprint.str()},
                 {"key_name", text_or_null(call.key.name)},
                 {"from", call.caller.from}});
    return {};
}

Status help(Call& call) {
    std::string asked;
    for (std::size_t i = 0; i < call.arguments.size(); ++i) {
        asked += (i == 0 ? "" : " ") + call.arguments.at(i);
    }
    std::vector<Record> rows;
    for (const Command* command : all_commands()) {
        if (!call.is_at_least(command->role)) continue;
        const bool is_asked =
            asked.empty() || command->words == asked || command->words.starts_with(asked + " ");
        if (!is_asked) continue;
        rows.push_back({{"command", std::string(command->words) + (command->usage.empty() ? "" : " ") +
                                        std::string(command->usage)},
                        {"does", std::string(command->says)},
                        {"role", std::string(role_name(command->role)), Shown::kJsonOnly}});
    }
    if (rows.empty()) return fail(Code::kUsage, "no such command", "run: help");
    if (call.arguments.wants_json()) {
        call.list("commands", rows, "");
        return {};
    }
    std::string text;
    for (const Record& row : rows) {
        text += std::get<std::string>(row[0].value) + "\n      " + std::get<std::string>(row[1].value) + "\n";
    }
    call.console.out(text);
    return {};
}

} // namespace

std::span<const Command> own_commands() {
    static const std::vector<Command> table = {
        {"status", "", "what is open and until when", Role::kUser, Freshness::kNone, 0, 0, {}, status},
        {"cert",
         "[--new]",
         "the certificate line, for > ~/.ssh/id_ed25519-cert.pub",
         Role::kUser,
         Freshness::kUnlock,
         0,
         0,
         {{"--new", false}},
         certificate},
        {"renew",
         "",
         "sign a new certificate under the unlock that is open",
         Role::kUser,
         Freshness::kUnlock,
         0,
         0,
         {},
         renew},
        {"unlock",
         "",
         "ask for a factor and open, or prolong, the unlock of this key",
         Role::kUser,
         Freshness::kLogin,
         0,
         0,
         {},
         unlock},
        {"lock", "", "end all unlocks of yours", Role::kUser, Freshness::kNone, 0, 0, {}, lock},
        {"whoami", "", "who the broker takes you for", Role::kUser, Freshness::kNone, 0, 0, {}, whoami},
        {"help", "[COMMAND]", "this list", Role::kUser, Freshness::kNone, 0, 2, {}, help},
    };
    return table;
}

} // namespace latchkey::desk
