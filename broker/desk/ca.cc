// SPDX-License-Identifier: Apache-2.0
// ca show | pub | krl
#include <algorithm>

#include "broker/desk/command.h"
#include "broker/desk/krl_check.h"
#include "broker/desk/text.h"
#include "broker/ledger/certificates.h"
#include "broker/ledger/revocations.h"
#include "core/revocation/krl.h"

namespace latchkey::desk {
namespace {

using ledger::Role;
using revocation::SelectorKind;

Record row_of(const keys::PublicKey& key, const std::string& use) {
    return {{"use", use},
            {"type", std::string(keys::type_name(key.type()))},
            {"fingerprint", key.fingerprint().str()},
            {"public_key", key.line(), Shown::kJsonOnly}};
}

Status show(Call& call) {
    LK_TRY(cas, call.context.issuer.ca_keys());
    std::vector<Record> rows;
    for (std::size_t i = 0; i < cas.size(); ++i) rows.push_back(row_of(cas[i], i == 0 ? "signs" : "trusted"));
    for (const keys::PublicKey& key : call.context.settings.ledger_keys)
        rows.push_back(row_of(key, "statements"));
    call.list("keys", rows, "no keys");
    return {};
}

Status pub(Call& call) {
    LK_TRY(cas, call.context.issuer.ca_keys());
    if (cas.empty()) return fail(Code::kUnavailable, "the signer has no key", "see: latchkeyd check");
    if (call.arguments.wants_json()) {
        call.object({{"public_key", cas.front().line()}, {"fingerprint", cas.front().fingerprint().str()}});
        return {};
    }
    call.console.out(cas.front().line() + " latchkey-ca\n");
    return {};
}

// What is revoked at this moment, as sshd understands it: serials, keys, and CA keys.
Result<revocation::KrlContent> content_now(ledger::Transaction& t) {
    revocation::KrlContent content;
    LK_TRY(epoch, ledger::current_epoch(t));
    LK_TRY(rows, ledger::revocations_after(t, Epoch{0}));
    content.version = epoch.value;
    content.made_at = t.now;
    const auto add = [&](const std::vector<Serial>& serials) {
        content.serials.insert(content.serials.end(), serials.begin(), serials.end());
    };
    for (const ledger::RevocationRow& row : rows) {
        const revocation::Selector& selector = row.revocation.selector;
        switch (selector.kind) {
            case SelectorKind::kCertificate: {
                LK_TRY(serial, parse_number(selector.text, "a revoked serial"));
                content.serials.push_back(Serial{serial});
                break;
            }
            case SelectorKind::kKey:
            case SelectorKind::kCa: {
                LK_TRY(fingerprint, Fingerprint::parse(selector.text));
                content.keys.push_back(std::move(fingerprint));
                break;
            }
            case SelectorKind::kUser: {
                LK_TRY(name, UserName::parse(selector.text));
                LK_TRY(serials, ledger::live_serials_of(t, name, row.revocation.made_at));
                add(serials);
                break;
            }
            case SelectorKind::kBefore: {
                LK_TRY(until, parse_number(selector.text, "a revoked time"));
                LK_TRY(serials, ledger::live_serials(t, Micros{static_cast<std::int64_t>(until)}));
                add(serials);
                break;
            }
            case SelectorKind::kVm: // a VM holds no certificate
                break;
        }
    }
    std::ranges::sort(content.serials, {}, &Serial::value);
    content.serials.erase(std::unique(content.serials.begin(), content.serials.end()), content.serials.end());
    return content;
}

Status krl(Call& call) {
    if (call.console.is_terminal() && !call.arguments.wants_json()) {
        return fail(Code::kUsage, "a KRL is binary", "run: " + call.ssh_line("ca krl") + " > revoked.krl");
    }
    LK_TRY(cas, call.context.issuer.ca_keys());
    LK_TRY(content, call.read([](ledger::Transaction& t) { return content_now(t); }));
    content.cas = std::move(cas);
    content.comment = "latchkey";
    const Bytes encoded = revocation::encode_krl(content);
    LK_CHECK(check_krl(encoded, call.context.settings.ssh_keygen));
    if (call.arguments.wants_json()) {
        call.object({{"version", count(content.version)},
                     {"serials", count(content.serials.size())},
                     {"keys", count(content.keys.size())},
                     {"krl_base64", to_base64(encoded)}});
        return {};
    }
    call.console.out(as_text(encoded));
    return {};
}

} // namespace

std::span<const Command> ca_commands() {
    static const std::vector<Command> table = {
        {"ca show", "", "the keys that VMs trust", Role::kUser, Freshness::kNone, 0, 0, {}, show},
        {"ca pub",
         "",
         "the public key that signs certificates",
         Role::kUser,
         Freshness::kNone,
         0,
         0,
         {},
         pub},
        {"ca krl",
         "",
         "what is revoked, as an OpenSSH KRL (binary)",
         Role::kUser,
         Freshness::kNone,
         0,
         0,
         {},
         krl},
    };
    return table;
}

} // namespace latchkey::desk
