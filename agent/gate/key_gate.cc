// SPDX-License-Identifier: Apache-2.0
#include "agent/gate/key_gate.h"

#include "agent/decide/key_line.h"
#include "agent/log/log.h"

namespace latchkey::agent {
namespace {

constexpr std::string_view kCertificateEnding = "-cert-v01@openssh.com";

constexpr Micros kDeniedAloneEvery = from_seconds(1);

std::string describe(const Offer& offer) {
    return "login=" + offer.login.str() + " key=" + offer.key.str() +
           (offer.is_certificate() ? " serial=" + std::to_string(offer.serial.value) : "");
}

} // namespace

Result<Offer> read_offer(const protocol::Authorize& request) {
    Offer offer{request.login, request.fingerprint, {}, {}};
    Fingerprint found;
    if (request.key_type.ends_with(kCertificateEnding)) {
        LK_TRY(certificate, cert::Certificate::from_blob(request.key_blob));
        const cert::Content& content = certificate.content();
        if (keys::cert_type_name(content.subject.type()) != request.key_type)
            return fail(Code::kRefused, "certificate of another type than sshd named");
        if (content.serial.value == 0) return fail(Code::kRefused, "certificate without a serial: not ours");
        offer.serial = content.serial;
        offer.certificate_digest = certificate.digest();
        found = content.subject.fingerprint();
    } else {
        LK_TRY(key, keys::PublicKey::from_blob(request.key_blob));
        if (keys::type_name(key.type()) != request.key_type)
            return fail(Code::kRefused, "key of another type than sshd named");
        found = key.fingerprint();
    }
    if (found != request.fingerprint)
        return fail(Code::kRefused, "the fingerprint that sshd gave is not this key's");
    return offer;
}

void KeyGate::authorize(pid_t helper, const protocol::Authorize& request, Reply reply) {
    auto question = std::make_shared<Question>();
    question->reply = std::move(reply);
    question->deadline = state_.clock.monotonic() + kAuthorizeTime;
    if (request.login.empty()) return deny(*question, "no login named");
    question->offer.login = request.login;
    auto offer = read_offer(request);
    if (!offer) return deny(*question, offer.error().message);
    question->offer = *std::move(offer);
    const auto self = processes_.find(helper);
    if (!self) return deny(*question, "the helper is gone");
    const auto monitor = processes_.parent_of(*self);
    if (!monitor) return deny(*question, "no sshd stands behind the helper");
    question->monitor = *monitor;
    decide(question);
}

void KeyGate::decide(const Shared& question) {
    const Offer& offer = question->offer;
    if (state_.is_local(offer.login)) return deny(*question, "a local login: not ours to decide");
    if (state_.troubles.denies()) return deny(*question, state_.troubles.line());
    const Standing standing = state_.lease.standing();
    if (standing == Standing::kOver)
        return deny_alone(*question, "no broker, and the time that grants may be served without one is over");
    if (standing != Standing::kCatchingUp) {
        const auto held = state_.grants.find(offer);
        const bool may_serve = !held.is_stale || standing == Standing::kOffline;
        if (held.grant && may_serve && still_holds(*held.grant, state_.judged()))
            return allow(*question, *held.grant);
        if (standing == Standing::kOffline)
            return deny_alone(*question, "no broker, and no grant held for this key");
    }
    // At most twice: once to wait out the catch-up, once to fetch, and then the cache answers.
    if (++question->rounds > 2) return deny(*question, "the broker's grant does not hold here");
    fetches_.ask(offer, question->deadline, [this, question](const Status& status) {
        if (!status) return deny(*question, status.error().message);
        decide(question);
    });
}

void KeyGate::allow(const Question& question, const VerifiedGrant& grant) {
    KeyLines lines =
        key_lines(grant, question.offer.is_certificate(), state_.broker_clock.to_wall(grant.ends_at));
    if (lines.lines.empty()) return deny(question, lines.why_none);
    const bool has_room = monitors_.allow(
        question.monitor, {question.offer, grant.credential(state_.vm), grant.ends_at, grant.sudo});
    if (!has_room) return deny(question, "too many logins at once on this VM");
    log_debug("allow " + describe(question.offer) + " user=" + grant.user.str());
    protocol::Authorized answer;
    answer.lines = std::move(lines.lines);
    answer.reason = "granted to " + grant.user.str();
    question.reply(std::move(answer));
}

// Somebody will ask why they cannot get in: said for accounts of ours, but not as often as a stranger may
// ask.
void KeyGate::deny_alone(const Question& question, const std::string& reason) {
    const Micros now = state_.clock.monotonic();
    const bool is_due = !denied_alone_at_ || now - *denied_alone_at_ >= kDeniedAloneEvery;
    if (is_due && state_.is_managed(question.offer.login)) {
        denied_alone_at_ = now;
        log_warn("deny " + describe(question.offer) + " why=" + reason);
    }
    deny(question, reason);
}

// Debug only: anybody on the network can cause denials.
void KeyGate::deny(const Question& question, const std::string& reason) {
    log_debug("deny " + describe(question.offer) + " why=" + reason);
    protocol::Authorized answer;
    answer.reason = reason;
    const Login& login = question.offer.login;
    if (!login.empty() && !state_.is_managed(login)) protocol::mark_unmanaged(answer);
    question.reply(std::move(answer));
}

} // namespace latchkey::agent
