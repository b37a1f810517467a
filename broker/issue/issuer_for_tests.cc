// SPDX-License-Identifier: Apache-2.0
#include "broker/issue/issuer_for_tests.h"

#include <algorithm>

#include "broker/ledger/audit.h"
#include "broker/ledger/policy_rows.h"
#include "broker/ledger/revocations.h"
#include "broker/ledger/vms.h"
#include "core/cert/certificate.h"

namespace latchkey::issue {

using ledger::take;
using ledger::Transaction;

Result<Bytes> MemorySigner::sign(ByteView to_be_signed) {
    if (is_gone) return fail(Code::kUnavailable, "the signer does not answer", "start it");
    ++signatures;
    if (meanwhile) meanwhile();
    Bytes bytes = to_bytes(to_be_signed);
    if (signs_other_bytes) bytes.push_back(0);
    if (refusals > 0 && refusals-- > 0) return fail(Code::kRefused, "the signer refuses: not this time");
    keys::PublicKey asked;
    LK_TRY(content, cert::parse_to_be_signed(to_be_signed, &asked));
    if (!(asked == key().public_key()))
        return fail(Code::kRefused, "the signer refuses: a CA key that is not ours");
    return key().sign(bytes);
}

const keys::PrivateKey& MemorySigner::key() const {
    static const auto next = take(keys::PrivateKey::generate(keys::KeyType::kEd25519));
    return has_new_key ? next : ledger::ca_key();
}

Result<std::vector<keys::PublicKey>> MemorySigner::public_keys() {
    if (is_gone) return fail(Code::kUnavailable, "the signer does not answer", "start it");
    return std::vector{key().public_key()};
}

// However loaded the machine is, who waits for another one's certificate gets it.
IssuerTest::IssuerTest() {
    restart_issuer(from_seconds(30));
}

void IssuerTest::restart_issuer(Micros turn) {
    Settings settings;
    settings.turn = turn;
    issuer_ =
        std::make_unique<Issuer>(Issuer::Parts{*ledger_, signer_, ledger::ledger_key(), clock_}, settings);
}

ledger::Vm IssuerTest::add_vm(std::string_view name, ByteView raw_key,
                              const std::vector<protocol::KeyValue>& labels) {
    return take(write([&](Transaction& t) -> Result<ledger::Vm> {
        LK_TRY(token, ledger::add_join_token(t, 1, t.now + from_seconds(60), "*", labels, "admin"));
        LK_TRY(vm_name, VmName::parse(name));
        return ledger::join_vm(t, token.id, token.secret.view(), vm_name, raw_key, {});
    }));
}

ledger::Vm IssuerTest::add_vm(std::string_view name) {
    return add_vm(name, ledger::new_public_key().raw_ed25519());
}

ledger::Rule IssuerTest::grant(const ledger::Person& person, const std::string& vms,
                               const std::vector<std::string>& logins, std::uint32_t ttl_seconds,
                               protocol::SudoRule sudo) {
    return take(write([&](Transaction& t) -> Result<ledger::Rule> {
        LK_TRY(name, GroupName::parse("of-" + person.user.name.str()));
        LK_TRY(found, ledger::find_group(t, name));
        if (!found) {
            LK_TRY(made, ledger::add_group(t, name, "admin"));
            LK_CHECK(ledger::join_group(t, made.id, person.user.id, "admin"));
            found = made;
        }
        ledger::Rule rule;
        rule.group = found->id;
        rule.group_name = name;
        rule.vm_selector = vms;
        for (const std::string& login : logins) rule.logins.push_back(take(Login::parse(login)));
        rule.ttl_seconds = ttl_seconds;
        rule.allow = {"pty"};
        rule.sudo = sudo;
        if (sudo == protocol::SudoRule::kFactor) rule.sudo_grace_seconds = 300;
        return ledger::add_rule(t, std::move(rule), "admin");
    }));
}

protocol::Fetch IssuerTest::fetch_of(const ledger::Person& person, const std::string& login) const {
    protocol::Fetch fetch;
    fetch.request = 1;
    fetch.login = take(Login::parse(login));
    fetch.key = person.key.fingerprint;
    return fetch;
}

protocol::Fetch IssuerTest::fetch_of(const ledger::Person& person, const std::string& login,
                                     const ledger::CertificateRow& offered) const {
    protocol::Fetch fetch = fetch_of(person, login);
    fetch.serial = offered.serial;
    fetch.certificate_digest = offered.digest;
    return fetch;
}

ledger::RevocationRow IssuerTest::revoke(std::string_view kind, const std::string& text) {
    const auto selector = take(revocation::Selector::parse(kind, text));
    return take(write([&](Transaction& t) { return ledger::revoke(t, selector, "a test", "admin"); }));
}

std::size_t IssuerTest::audit_count(const std::string& action) {
    const auto rows = take(read([&](Transaction& t) { return ledger::list_audit(t, {}); }));
    return static_cast<std::size_t>(
        std::ranges::count_if(rows, [&](const ledger::AuditRow& row) { return row.event.action == action; }));
}

} // namespace latchkey::issue
