// SPDX-License-Identifier: Apache-2.0
#include "broker/door/login.h"

#include <cstring>
#include <utility>

#include "broker/ledger/audit.h"
#include "broker/ledger/factors.h"
#include "broker/ledger/users.h"

namespace latchkey::door {
namespace {

constexpr const char* kJoinFactor = "totp";

Result<keys::PublicKey> key_of(ssh_message message) {
    const ssh_key raw = ssh_message_auth_pubkey(message); // borrowed from the message
    char* base64 = nullptr;
    if (raw == nullptr || ssh_pki_export_pubkey_base64(raw, &base64) != SSH_OK) {
        return fail(Code::kMalformed, "public key cannot be read");
    }
    const TextHandle owned(base64);
    LK_TRY(blob, from_base64(base64));
    return keys::PublicKey::from_blob(blob); // certificates are kUnsupported
}

SecretBytes answer_of(ssh_session session) {
    if (ssh_userauth_kbdint_getnanswers(session) != 1) return {};
    const char* text = ssh_userauth_kbdint_getanswer(session, 0);
    if (text == nullptr || std::strlen(text) > unlock::kMaxAnswer) return {};
    return SecretBytes(as_bytes(text));
}

std::string minutes(Micros span) {
    const std::int64_t whole = (span.seconds() + 59) / 60;
    return std::to_string(whole < 1 ? 1 : whole) + " min";
}

} // namespace

Result<desk::Caller> LoginDialogue::run(posix::Deadline deadline) {
    while (stage_ != Stage::kDone) {
        LK_TRY(message, transport_.next(deadline));
        switch (ssh_message_type(message.get())) {
            case SSH_REQUEST_SERVICE: {
                const char* service = ssh_message_service_service(message.get());
                if (service == nullptr || std::strcmp(service, "ssh-userauth") != 0) {
                    return fail(Code::kUnsupported, "no such service");
                }
                if (ssh_message_service_reply_success(message.get()) != SSH_OK) {
                    return fail(Code::kUnavailable, "the peer is gone");
                }
                transport_.watch_swallowed(true);
                break;
            }
            case SSH_REQUEST_AUTH:
                LK_CHECK(on_request(message.get()));
                if (stage_ == Stage::kFirstCode && !is_enrolling_) {
                    is_enrolling_ = true;
                    deadline = posix::Deadline::after(limits_.enrolment);
                }
                break;
            default:
                ssh_message_reply_default(message.get());
        }
    }
    transport_.watch_swallowed(false);
    return std::move(caller_);
}

Status LoginDialogue::on_request(ssh_message message) {
    const int method = ssh_message_subtype(message);
    const bool is_answer =
        method == SSH_AUTH_METHOD_INTERACTIVE && ssh_message_auth_kbdint_is_response(message) != 0;
    if (!is_answer) { // an answer carries no name
        if (++requests_ > limits_.requests)
            return fail(Code::kRefused, "too many authentication requests",
                        "offer one key: ssh -o IdentitiesOnly=yes -i KEY");
        const char* raw_name = ssh_message_auth_user(message);
        const std::string name = raw_name == nullptr ? "" : raw_name;
        if (requests_ == 1) name_ = name;
        if (name != name_) return fail(Code::kRefused, "the user name changed during the login");
    }
    if (method == SSH_AUTH_METHOD_PUBLICKEY) return on_key(message);
    if (method == SSH_AUTH_METHOD_INTERACTIVE) return on_interactive(message);
    refuse(message);
    return {};
}

void LoginDialogue::refuse(ssh_message message) const {
    const auto methods = stage_ == Stage::kKey ? SSH_AUTH_METHOD_PUBLICKEY : SSH_AUTH_METHOD_INTERACTIVE;
    ssh_set_auth_methods(transport_.session(), static_cast<int>(methods));
    ssh_message_reply_default(message);
}

Status LoginDialogue::on_key(ssh_message message) {
    const auto state = ssh_message_auth_publickey_state(message);
    auto key = key_of(message);
    if (!key || stage_ != Stage::kKey ||
        (state != SSH_PUBLICKEY_STATE_NONE && state != SSH_PUBLICKEY_STATE_VALID)) {
        refuse(message);
        return {};
    }
    const bool is_proven = state == SSH_PUBLICKEY_STATE_VALID;
    return name_ == kJoinName ? on_joining_key(message, *key, is_proven)
                              : on_registered_key(message, *key, is_proven);
}

// One look-up in each case, found or not.
Result<std::optional<LoginDialogue::Known>> LoginDialogue::look_up(const keys::PublicKey& key) const {
    auto found = parts_.ledger.read([&](ledger::Transaction& t) -> Result<std::optional<Known>> {
        LK_TRY(holder, ledger::find_holder(t, key.fingerprint()));
        if (!holder || holder->key.blob != key.blob() || holder->user.name.str() != name_ ||
            holder->user.state == ledger::UserState::kRemoved) {
            return std::optional<Known>();
        }
        return holder;
    });
    if (found) return found;
    const Code code = found.error().code;
    if (code != Code::kUnavailable && code != Code::kTimedOut)
        return std::optional<Known>();                                       // in doubt a stranger
    return fail(Code::kUnavailable, "this broker cannot reach its database", // whoever asks hears that
                "try again soon, or at another broker");
}

Status LoginDialogue::on_registered_key(ssh_message message, const keys::PublicKey& key, bool is_proven) {
    LK_TRY(known, look_up(key));
    if (!known) {
        refuse(message);
        return {};
    }
    if (!is_proven) {
        ticket_.named_key();
        ssh_message_auth_reply_pk_ok_simple(message);
        return {};
    }
    ticket_.proved_key();
    if (known->user.state != ledger::UserState::kActive) {
        parts_.factors.note_denied(known->user, "account locked", from_);
        return fail(Code::kLocked, "account locked", "ask an admin");
    }
    if (known->unlock) {
        succeed(message, known->user, known->key);
        return {};
    }
    if (!ticket_.waits_for_factor(known->key.fingerprint.str())) {
        return fail(Code::kRefused, "too many logins with this key wait for a code",
                    "finish or close the others");
    }
    known_ = std::move(known);
    stage_ = Stage::kFactor;
    ssh_set_auth_methods(transport_.session(), static_cast<int>(SSH_AUTH_METHOD_INTERACTIVE));
    ssh_message_auth_reply_success(message, 1);
    return {};
}

Status LoginDialogue::on_joining_key(ssh_message message, const keys::PublicKey& key, bool is_proven) {
    if (const Status strong = key.check_strength(parts_.strength); !strong) {
        transport_.banner(strong.error().line() + "\n");
        refuse(message);
        return {};
    }
    if (!is_proven) {
        ssh_message_auth_reply_pk_ok_simple(message);
        return {};
    }
    ticket_.named_key();
    joining_key_ = key;
    stage_ = Stage::kInvite;
    ssh_set_auth_methods(transport_.session(), static_cast<int>(SSH_AUTH_METHOD_INTERACTIVE));
    ssh_message_auth_reply_success(message, 1);
    return {};
}

void LoginDialogue::ask(ssh_message message, const std::string& prompt) {
    const char* prompts[] = {prompt.c_str()};
    char echo[] = {0};
    ssh_message_auth_interactive_request(message, "", "", 1, prompts, echo);
    has_asked_ = true;
    transport_.watch_swallowed(false); // a person types: silence says nothing, whatever came before it
}

Status LoginDialogue::on_interactive(ssh_message message) {
    const bool is_answer = ssh_message_auth_kbdint_is_response(message) != 0;
    if (stage_ == Stage::kKey || is_answer != has_asked_) {
        refuse(message);
        return {};
    }
    if (!is_answer) {
        if (stage_ == Stage::kFactor) {
            ask(message, parts_.factors.prompt(known_->user.id));
        } else if (stage_ == Stage::kInvite) {
            ask(message, "Invite code: ");
        } else {
            ask(message, pending_->enrolment.prompt);
        }
        return {};
    }
    has_asked_ = false;
    transport_.watch_swallowed(true);
    const SecretBytes answer = answer_of(transport_.session());
    if (stage_ == Stage::kFactor) return on_factor(message, answer);
    return stage_ == Stage::kInvite ? on_invite(message, answer) : on_first_code(message, answer);
}

Status LoginDialogue::wrong(ssh_message message, const char* reason) {
    refuse(message);
    if (++attempts_ < limits_.factor_attempts) return {};
    return fail(Code::kRefused, reason, "connect again to go on");
}

Status LoginDialogue::on_factor(ssh_message message, const SecretBytes& answer) {
    LK_TRY(outcome, parts_.factors.check(known_->user.id, known_->key.id, as_text(answer.view()), from_));
    if (outcome.accepted) {
        succeed(message, known_->user, known_->key);
        return {};
    }
    if (const Micros left = outcome.blocked_until - parts_.clock.now(); left.value > 0) {
        return fail(Code::kRefused, "too many wrong codes", "try again in " + minutes(left));
    }
    if (outcome.reason == "account locked") return fail(Code::kLocked, "account locked", "ask an admin");
    if (outcome.reason == "no factor") {
        return fail(Code::kRefused, "no second factor is enrolled", "ask an admin for a new invite");
    }
    return wrong(message, "too many wrong codes");
}

Status LoginDialogue::on_invite(ssh_message message, const SecretBytes& answer) {
    auto user = unlock::invited(parts_.factors, as_text(answer.view()));
    if (!user) {
        const Error& error = user.error();
        // Expired and used invites were real once: their holder may know.
        if (error.code == Code::kExpired || error.code == Code::kConflict) return fail(error);
        if (error.code != Code::kNotFound && error.code != Code::kMalformed) return fail(error);
        return wrong(message, "too many wrong invite codes");
    }
    if (user->state != ledger::UserState::kActive)
        return fail(Code::kLocked, "account locked", "ask an admin");
    LK_TRY(row, parts_.ledger.read([&](ledger::Transaction& t) {
        return ledger::find_key(t, joining_key_->fingerprint());
    }));
    if (row && row->user != user->id) {
        return fail(Code::kExists, "this key is registered with another account", "join with another key");
    }
    ticket_.proved_key(); // whoever was invited is no stranger
    invite_ = answer.clone();
    LK_TRY(pending, unlock::begin(parts_.factors, user->name, kJoinFactor));
    pending_ = std::move(pending);
    stage_ = Stage::kFirstCode;
    // Not as the instruction of the prompt: stock clients cut that at 1 KiB and escape its UTF-8.
    transport_.banner("\nWelcome, " + user->name.str() + ". Add this to your authenticator:\n\n" +
                      pending_->enrolment.show_qr + "\n" + pending_->enrolment.show_text + "\n");
    attempts_ = 0;
    ask(message, pending_->enrolment.prompt);
    return {};
}

Status LoginDialogue::on_first_code(ssh_message message, const SecretBytes& answer) {
    LK_TRY(fits, unlock::confirm(parts_.factors, *pending_, as_text(answer.view())));
    if (!fits) {
        if (++attempts_ >= limits_.factor_attempts) {
            return fail(Code::kRefused, "too many wrong codes", "connect again; the invite is still good");
        }
        ask(message, "That code does not fit. " + pending_->enrolment.prompt);
        return {};
    }
    LK_TRY(joined, unlock::join(parts_.factors, as_text(invite_.view()), *joining_key_, *pending_));
    caller_.has_just_joined = true;
    succeed(message, joined.user, joined.key);
    return {};
}

void LoginDialogue::succeed(ssh_message message, const ledger::User& user, const ledger::Key& key) {
    caller_.name = user.name;
    caller_.user = user.id;
    caller_.key = key.id;
    caller_.fingerprint = key.fingerprint;
    caller_.from = from_;
    caller_.login_at = parts_.clock.now();
    stage_ = Stage::kDone;
    ssh_message_auth_reply_success(message, 0);
}

} // namespace latchkey::door
