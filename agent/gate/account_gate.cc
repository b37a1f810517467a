// SPDX-License-Identifier: Apache-2.0
#include "agent/gate/account_gate.h"

#include <algorithm>

#include "agent/gate/key_gate.h"
#include "agent/log/log.h"

namespace latchkey::agent {
namespace {

// sshd answers its client first; a client that stays connected after a refusal is then cut off.
constexpr Micros kPatienceAfterRefusal = from_millis(300);

bool is_sshd(std::string_view service) {
    return service.starts_with("sshd");
}

template <class Answer>
Answer say(protocol::Verdict verdict, std::string reason) {
    Answer answer;
    answer.verdict = verdict;
    answer.reason = std::move(reason);
    return answer;
}

} // namespace

Result<Offer> read_auth_info(const Login& login, std::string_view auth_info) {
    static constexpr std::string_view method = "publickey ";
    std::string_view found;
    while (!auth_info.empty()) {
        const std::string_view line = auth_info.substr(0, auth_info.find('\n'));
        auth_info.remove_prefix(std::min(line.size() + 1, auth_info.size()));
        if (!line.starts_with(method)) continue;
        if (!found.empty()) return fail(Code::kRefused, "two public keys in one login");
        found = line.substr(method.size());
    }
    if (found.empty()) return fail(Code::kRefused, "the login was not by a public key");
    const std::size_t blank = found.find(' ');
    if (blank == std::string_view::npos) return fail(Code::kMalformed, "sshd's word on the key is cut short");
    protocol::Authorize same; // the helper's question holds the same words
    same.login = login;
    same.key_type = std::string(found.substr(0, blank));
    LK_TRY(blob, from_base64(found.substr(blank + 1)));
    same.key_blob = std::move(blob);
    if (const auto certificate = cert::Certificate::from_blob(same.key_blob)) {
        same.fingerprint = certificate->content().subject.fingerprint();
    } else {
        LK_TRY(key, keys::PublicKey::from_blob(same.key_blob));
        same.fingerprint = key.fingerprint();
    }
    return read_offer(same);
}

Status AccountGate::still_good(const AllowedLogin& allowed) const {
    if (state_.troubles.denies()) return fail(Code::kUnavailable, state_.troubles.line());
    if (const auto covering = state_.revocations.covers(allowed.credential)) {
        return fail(Code::kRevoked, "revoked meanwhile by epoch " + std::to_string(covering->epoch.value));
    }
    if (state_.broker_clock.latest() >= allowed.ends_at) return fail(Code::kExpired, "ended meanwhile");
    // Somebody may sit at a second factor for as long as sshd's LoginGraceTime.
    if (!state_.lease.covers_decided())
        return fail(Code::kUnavailable,
                    "no broker, and the time that grants may be served without one is over");
    return {};
}

protocol::AccountAnswer AccountGate::check(pid_t asker, const protocol::AccountCheck& request) {
    using protocol::Verdict;
    const auto say_account = say<protocol::AccountAnswer>;
    if (state_.is_local(request.login)) return say_account(Verdict::kUnmanaged, "a local login");
    auto monitor = processes_.find(asker);
    const auto* records = monitor ? monitors_.of(*monitor) : nullptr;
    // A second factor through PAM makes sshd ask from a child of the monitor.
    if (monitor && records == nullptr && is_sshd(request.service)) {
        monitor = processes_.parent_of(*monitor);
        if (monitor) records = monitors_.of(*monitor);
    }
    if (records == nullptr && !is_sshd(request.service))
        return say_account(Verdict::kUnmanaged, "another service than sshd");
    std::string reason = "no grant was decided for this connection";
    const AllowedLogin* refused = nullptr;
    if (records != nullptr) {
        for (const AllowedLogin& allowed : *records) {
            if (allowed.offer.login != request.login) continue;
            const Status good = still_good(allowed);
            if (good) {
                monitors_.note_passed(*monitor, state_.clock.monotonic());
                return say_account(Verdict::kAllow, "granted to " + allowed.credential.user.str());
            }
            reason = good.error().message;
            refused = &allowed;
        }
    }
    if (refused == nullptr && !state_.is_managed(request.login))
        return say_account(Verdict::kUnmanaged, "not an account of ours");
    log_info("refuse account login=" + request.login.str() + " from=" + request.remote_host +
             " why=" + reason);
    sessions_.report_refused(request.login, refused, request.remote_host, reason);
    return say_account(Verdict::kDeny, reason);
}

protocol::SessionAnswer AccountGate::open(pid_t asker, const protocol::SessionOpen& request) {
    using protocol::Verdict;
    const auto say_session = say<protocol::SessionAnswer>;
    if (state_.is_local(request.login)) return say_session(Verdict::kUnmanaged, "a local login");
    const auto monitor = processes_.find(asker);
    if (!monitor) return say_session(Verdict::kDeny, "sshd is gone");
    const auto* records = monitors_.of(*monitor);
    if (records == nullptr && !is_sshd(request.service))
        return say_session(Verdict::kUnmanaged, "another service than sshd");
    const auto offer = read_auth_info(request.login, request.auth_info);
    if (records != nullptr && offer) {
        const auto match = std::ranges::find(*records, *offer, &AllowedLogin::offer);
        if (match != records->end()) {
            const Status good = still_good(*match);
            if (!good) return refuse(*monitor, request, &*match, good.error().message);
            return bind(*monitor, request, *match);
        }
    }
    if (!state_.is_managed(request.login)) return say_session(Verdict::kUnmanaged, "not an account of ours");
    return refuse(*monitor, request, nullptr,
                  offer ? "sshd accepted a key that was not granted" : offer.error().message);
}

protocol::SessionAnswer AccountGate::refuse(const ProcessId& monitor, const protocol::SessionOpen& request,
                                            const AllowedLogin* allowed, const std::string& reason) {
    log_info("refuse session login=" + request.login.str() + " from=" + request.remote_host +
             " why=" + reason);
    sessions_.report_refused(request.login, allowed, request.remote_host, reason);
    end_if_it_lingers(monitor, request.login);
    return say<protocol::SessionAnswer>(protocol::Verdict::kDeny, reason);
}

protocol::SessionAnswer AccountGate::take_back(pid_t asker, const protocol::SessionOpen& request,
                                               const Error& why) {
    const std::string reason = "the session cannot be written down: " + why.message;
    log_error("refuse session login=" + request.login.str() + " from=" + request.remote_host +
              " why=" + reason);
    if (const auto monitor = processes_.find(asker)) { // else its row is left to the sweep
        sessions_.take_back(*monitor, reason);
        end_if_it_lingers(*monitor, request.login);
    }
    return say<protocol::SessionAnswer>(protocol::Verdict::kDeny, reason);
}

void AccountGate::end_if_it_lingers(const ProcessId& monitor, const Login& login) {
    BoundSession lingering;
    lingering.monitor = monitor;
    lingering.login = login;
    monitors_.forget(monitor);
    loop_.after(kPatienceAfterRefusal, [this, lingering] {
        if (!is_gone(lingering.monitor, processes_.find(lingering.monitor.pid)))
            sessions_.cut({lingering}, "refused by PAM", [](const auto&) {});
    });
}

protocol::SessionAnswer AccountGate::bind(const ProcessId& monitor, const protocol::SessionOpen& request,
                                          const AllowedLogin& allowed) {
    BoundSession session;
    session.monitor = monitor;
    session.user = allowed.credential.user;
    session.login = request.login;
    session.key = allowed.credential.key;
    session.serial = allowed.credential.serial;
    session.ca = allowed.credential.ca;
    session.issued_at = allowed.credential.issued_at;
    session.from = request.remote_host;
    session.since = state_.broker_clock.now();
    auto logind_session = processes_.logind_session_of(monitor);
    const auto audit_session = processes_.own_audit_session_of(monitor);
    if (!logind_session || !audit_session) // what could not be ended as a whole does not begin
        return refuse(monitor, request, &allowed, "/proc cannot be read on this VM now");
    session.logind_session = *std::move(logind_session);
    session.audit_session = *audit_session;
    if (!sessions_.open(std::move(session)))
        return refuse(monitor, request, &allowed, "the kernel gives no random number");
    return say<protocol::SessionAnswer>(protocol::Verdict::kAllow,
                                        "granted to " + allowed.credential.user.str());
}

void AccountGate::close(pid_t asker) {
    sessions_.goodbye();
    if (const auto monitor = processes_.find(asker)) monitors_.forget(*monitor);
}

} // namespace latchkey::agent
