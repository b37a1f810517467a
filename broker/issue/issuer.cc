// SPDX-License-Identifier: Apache-2.0
#include "broker/issue/issuer.h"

#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <chrono>

#include "broker/ledger/certificates.h"
#include "broker/ledger/holders.h"
#include "broker/ledger/policy_rows.h"
#include "broker/ledger/revocations.h"
#include "core/cert/certificate.h"

namespace latchkey::issue {
namespace {

constexpr Micros kLeastLeft = from_seconds(300);
constexpr int kMostTries = 3; // where others change what a certificate is made by

Status fill_random(std::span<std::uint8_t> out) {
    if (RAND_bytes(out.data(), static_cast<int>(out.size())) == 1) return {};
    return fail(Code::kInternal, "the system gives no random numbers");
}

Result<Serial> new_serial() {
    for (;;) {
        std::array<std::uint8_t, 8> bytes{};
        LK_CHECK(fill_random(bytes));
        std::uint64_t value = 0;
        for (const std::uint8_t byte : bytes) value = value << 8 | byte;
        value &= INT64_MAX;
        if (value != 0) return Serial{value};
    }
}

// Below this much time left, a certificate is made anew: a quarter of its life, 5 min at least, but of a
// short one no more than half.
Micros renewal_margin(Micros ttl) {
    return std::min(std::max(Micros{ttl.value / 4}, kLeastLeft), Micros{ttl.value / 2});
}

Result<revocation::RevocationSet> read_set(ledger::Transaction& t, Epoch epoch) {
    LK_TRY(rows, ledger::revocations_after(t, Epoch{0}));
    std::vector<revocation::Revocation> entries;
    entries.reserve(rows.size());
    for (ledger::RevocationRow& row : rows) entries.push_back(std::move(row.revocation));
    revocation::RevocationSet set;
    LK_CHECK(set.replace(epoch, std::move(entries)));
    return set;
}

} // namespace

bool is_refusal(Code code) {
    return code == Code::kRefused || code == Code::kExpired || code == Code::kLocked ||
           code == Code::kNotFound || code == Code::kRevoked;
}

void Issuer::describe(metrics::Registry& registry) const {
    const std::string issues = "latchkey_certificate_issues_total";
    const std::string of_issues = "Certificates asked for, by outcome; issued ones are recorded.";
    registry.add(issues, of_issues, counts_.issued, {{"outcome", "issued"}});
    registry.add(issues, of_issues, counts_.refused, {{"outcome", "refused"}});
    registry.add(issues, of_issues, counts_.failed, {{"outcome", "failed"}});
    registry.add("latchkey_certificate_issue_duration_seconds",
                 "Planning, signing and recording a certificate.", counts_.issuing);
    const std::string fetches = "latchkey_fetches_total";
    const std::string of_fetches = "Questions of VMs whether a key may log in, by the answer.";
    registry.add(fetches, of_fetches, counts_.allowed, {{"decision", "allow"}});
    registry.add(fetches, of_fetches, counts_.denied, {{"decision", "deny"}});
    registry.add(fetches, of_fetches, counts_.not_judged, {{"decision", "error"}});
    registry.add("latchkey_fetch_duration_seconds", "Judging a VM's question, with a new certificate if due.",
                 counts_.judging);
}

Result<std::vector<keys::PublicKey>> Issuer::ca_keys() {
    {
        const std::lock_guard lock(ca_mutex_);
        if (!must_ask_ca_keys_) return ca_keys_;
    }
    auto list = parts_.signer.public_keys();
    std::vector<std::function<void()>> listeners;
    {
        const std::lock_guard lock(ca_mutex_);
        if (!list && !ca_keys_.empty()) return ca_keys_; // as long as nothing newer is known
        if (!list) return list;
        if (!ca_keys_.empty() && !(ca_keys_ == *list)) listeners = ca_listeners_;
        ca_keys_ = *list;
        must_ask_ca_keys_ = false;
    }
    for (const auto& listener : listeners) listener();
    return list;
}

void Issuer::on_new_ca_keys(std::function<void()> listener) {
    const std::lock_guard lock(ca_mutex_);
    ca_listeners_.push_back(std::move(listener));
}

Epoch Issuer::set_epoch() {
    const std::lock_guard lock(set_mutex_);
    return revocations_.epoch();
}

// Others may have brought it further meanwhile. False where it still lacks one of them.
bool Issuer::apply(const std::vector<ledger::RevocationRow>& newer) {
    const std::lock_guard lock(set_mutex_);
    return std::ranges::all_of(newer, [&](const ledger::RevocationRow& next) {
        return next.revocation.epoch <= revocations_.epoch() || revocations_.apply(next.revocation);
    });
}

// Judged by a set in memory, brought level with the snapshot that the caller reads from: the cost of a fetch
// does not grow with the number of revocations.
Result<bool> Issuer::is_revoked(ledger::Transaction& t, Epoch epoch, const ledger::User& user,
                                const ledger::CertificateRow& row, const VmName& vm) {
    const Epoch known = set_epoch();
    if (known < epoch) {
        LK_TRY(newer, ledger::revocations_after(t, known));
        if (newer.size() != epoch.value - known.value || !apply(newer)) { // some have ended already
            LK_TRY(set, read_set(t, epoch));
            const std::lock_guard lock(set_mutex_);
            if (revocations_.epoch() < epoch) revocations_ = std::move(set);
        }
    }
    const std::lock_guard lock(set_mutex_);
    return revocations_
        .covers({.user = user.name,
                 .key = row.key_fingerprint,
                 .serial = row.serial,
                 .ca = row.ca_fingerprint,
                 .vm = vm,
                 .issued_at = row.issued_at})
        .has_value();
}

Result<std::optional<Issuer::Subject>> Issuer::read_subject(ledger::Transaction& t, const Fingerprint& key,
                                                            Serial offered, const VmName& vm) {
    LK_TRY(holding, ledger::find_holding(t, key));
    if (!holding) return std::optional<Subject>();
    Subject subject{.key = std::move(holding->holder.key),
                    .user = std::move(holding->holder.user),
                    .unlock = holding->holder.unlock,
                    .policy_count = holding->policy_count,
                    .last = holding->last,
                    .certificate = std::move(holding->newest)};
    LK_TRY(rules, ledger::rules_for_user(t, subject.user.id));
    subject.rules = std::move(rules);
    if (offered.value != 0) {
        LK_TRY(found, ledger::find_certificate(t, offered));
        subject.certificate = std::move(found);
    }
    if (subject.certificate) {
        LK_TRY(revoked, is_revoked(t, holding->epoch, subject.user, *subject.certificate, vm));
        subject.is_revoked = revoked;
    }
    return std::optional(std::move(subject));
}

Result<ledger::CertificateRow> Issuer::make(const Subject& subject, const std::string& actor, Beside beside) {
    const metrics::Stopwatch watch(counts_.issuing);
    auto made = make_one(subject, actor, beside);
    (made ? counts_.issued : is_refusal(made.error().code) ? counts_.refused : counts_.failed).add();
    return made;
}

// Once more where the signer refuses: it may hold another CA key than when it was asked for it.
Result<cert::Certificate> Issuer::sign(const cert::Content& content) {
    auto certificate = sign_once(content);
    if (certificate || !is_refusal(certificate.error().code)) return certificate;
    {
        const std::lock_guard lock(ca_mutex_);
        must_ask_ca_keys_ = true;
    }
    return sign_once(content);
}

Result<cert::Certificate> Issuer::sign_once(const cert::Content& content) {
    LK_TRY(cas, ca_keys());
    std::array<std::uint8_t, 32> nonce{};
    LK_CHECK(fill_random(nonce));
    LK_TRY(to_be_signed, cert::to_be_signed(content, nonce, cas.front()));
    LK_TRY(signature, parts_.signer.sign(to_be_signed));
    LK_TRY(certificate, cert::Certificate::from_blob(cert::with_signature(to_be_signed, signature)));
    LK_CHECK(cert::verify(certificate, {cas.front()}, parts_.clock.now(), Login()));
    return certificate;
}

// Plan, sign, verify what came back, record: only the row that the ledger made durable is returned.
Result<ledger::CertificateRow> Issuer::make_one(const Subject& subject, const std::string& actor,
                                                Beside beside) {
    if (!subject.unlock) return fail(Code::kExpired, "the unlock has ended", "run: unlock");
    const Micros now = parts_.clock.now();
    LK_TRY(plan, policy::plan_certificate(subject.rules, subject.unlock->ends_at - now, settings_.max_ttl));
    LK_TRY(subject_key, keys::PublicKey::from_blob(subject.key.blob));
    LK_TRY(serial, new_serial());

    cert::Content content;
    content.subject = std::move(subject_key);
    content.serial = serial;
    content.key_id = subject.user.name.str() + "/" + std::to_string(serial.value);
    content.principals = std::move(plan.principals);
    content.valid_after = static_cast<std::uint64_t>((now - settings_.back_date).seconds());
    content.valid_before = static_cast<std::uint64_t>((now + plan.ttl).seconds());
    content.critical_options = std::move(plan.critical_options);
    content.extensions = std::move(plan.extensions);
    if (content.valid_before <= static_cast<std::uint64_t>(now.seconds()))
        return fail(Code::kExpired, "the unlock is about to end", "run: unlock");

    LK_TRY(certificate, sign(content));
    return parts_.ledger.write([&](ledger::Transaction& t) -> Result<ledger::CertificateRow> {
        // Others may have made one, or changed the rules, since the subject was read, however long ago: this
        // process may have been stopped. Here nobody else writes.
        const auto still_due = [&](const ledger::Meanwhile& meanwhile) -> Status {
            if (beside == Beside::kNone && meanwhile.last > subject.last)
                return fail(Code::kConflict, "another certificate was made meanwhile", "try again");
            if (meanwhile.policy_count == subject.policy_count) return {};
            LK_TRY(rules, ledger::rules_for_user(t, subject.user.id));
            if (rules == subject.rules) return {};
            return fail(Code::kConflict, "the rules were changed meanwhile", "try again");
        };
        return ledger::record_certificate(t, certificate, subject.user.id, subject.key.id, subject.unlock->id,
                                          parts_.ledger_key, actor, still_due);
    });
}

// Whether what was issued is still as good as a new one would be.
Result<std::optional<ledger::CertificateRow>> Issuer::usable(const Subject& subject) {
    const std::optional<ledger::CertificateRow> none;
    if (!subject.unlock) return fail(Code::kExpired, "the unlock has ended", "run: unlock");
    const Micros now = parts_.clock.now();
    const Micros unlock_end = subject.unlock->ends_at;
    LK_TRY(plan, policy::plan_certificate(subject.rules, unlock_end - now, settings_.max_ttl));
    if (!subject.certificate || subject.is_revoked || subject.certificate->ends_at <= now) return none;
    const ledger::CertificateRow& row = *subject.certificate;
    LK_TRY(certificate, cert::Certificate::from_blob(row.blob));
    LK_TRY(cas, ca_keys());
    const cert::Content& content = certificate.content();
    if (!(certificate.ca() == cas.front()) || content.principals != plan.principals ||
        content.critical_options != plan.critical_options || content.extensions != plan.extensions) {
        return none;
    }
    const bool cannot_last_longer = row.ends_at + from_seconds(1) >= unlock_end;
    if (cannot_last_longer || row.ends_at - now > renewal_margin(plan.ttl)) return subject.certificate;
    return none;
}

Result<ledger::CertificateRow> Issuer::issue(const ledger::User& user, const ledger::Key& key,
                                             const ledger::Unlock& unlock, const std::string& actor) {
    Subject subject{.key = key, .user = user, .unlock = unlock};
    LK_CHECK(parts_.ledger.read([&](ledger::Transaction& t) -> Status {
        LK_TRY(rules, ledger::rules_for_user(t, user.id));
        LK_TRY(count, ledger::policy_count(t));
        subject.rules = std::move(rules);
        subject.policy_count = count;
        return {};
    }));
    return make(subject, actor, Beside::kOthers);
}

Result<ledger::CertificateRow> Issuer::current(const ledger::User& /*user*/, const ledger::Key& key,
                                               const ledger::Unlock& unlock, const std::string& actor) {
    return current_at(VmName(), key, unlock, actor, std::nullopt);
}

// What is known is read again only where others were at it meanwhile: they made one, or changed the rules.
Result<ledger::CertificateRow> Issuer::current_at(const VmName& vm, const ledger::Key& key,
                                                  const ledger::Unlock& unlock, const std::string& actor,
                                                  std::optional<Subject> known) {
    const Turns::Turn turn(issuing_, unlock.id, std::chrono::microseconds(settings_.turn.value));
    std::optional<Subject> subject;
    if (!turn.has_waited()) subject = std::move(known);
    for (int attempt = 1;; ++attempt) {
        if (!subject) {
            LK_TRY(found, parts_.ledger.read([&](ledger::Transaction& t) {
                return read_subject(t, key.fingerprint, Serial{0}, vm);
            }));
            subject = std::move(found);
        }
        if (!subject || subject->key.id != key.id)
            return fail(Code::kNotFound, "the key is not registered any more", "see: key ls");
        LK_TRY(row, usable(*subject));
        if (row) return std::move(*row);
        auto made = turn.has_come()
                        ? make(*subject, actor, Beside::kNone)
                        : fail(Code::kUnavailable, "a certificate of this unlock is long in the making",
                               "try again; where that stays so, look at the signer's log");
        if (!made && made.error().code == Code::kConflict && attempt < kMostTries) {
            subject.reset();
            continue;
        }
        // Without a signer what is still valid serves on, until it ends.
        const bool can_wait = !made && made.error().code == Code::kUnavailable && subject->certificate &&
                              !subject->is_revoked && subject->certificate->ends_at > parts_.clock.now();
        if (can_wait) return std::move(*subject->certificate);
        return made;
    }
}

} // namespace latchkey::issue
