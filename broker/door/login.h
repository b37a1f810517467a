// SPDX-License-Identifier: Apache-2.0
#pragma once
// The login as a conversation: key first, second factor where no unlock is live; at the name `join` key,
// invite and a first code. One object a connection, one thread; blocks on the ledger. Strangers get the
// standard refusal and nothing else, after the same two look-ups whoever they claim to be; whoever has proven
// a registered key may be told more. Ends in a Caller, or in the Error to disconnect with.

#include <optional>
#include <string>

#include "broker/desk/console.h"
#include "broker/door/admission.h"
#include "broker/door/transport.h"
#include "broker/ledger/holders.h"
#include "broker/unlock/enrolment.h"
#include "broker/unlock/factors.h"
#include "core/keys/public_key.h"

namespace latchkey::door {

inline constexpr const char* kJoinName = "join";

class LoginDialogue {
public:
    struct Parts {
        ledger::Ledger& ledger;
        unlock::Factors& factors;
        const Clock& clock;
        keys::StrengthRules strength;
    };
    struct Limits {
        unsigned requests = 20; // authentication requests of any kind
        unsigned factor_attempts = 3;
        Micros enrolment = from_seconds(600); // from the accepted invite on, in place of the login grace
    };
    // The ticket hears how far the stranger has come.
    LoginDialogue(Transport& transport, Parts parts, Admission::Ticket& ticket, std::string from,
                  Limits limits)
        : transport_(transport), parts_(parts), ticket_(ticket), from_(std::move(from)), limits_(limits) {}

    Result<desk::Caller> run(posix::Deadline deadline);

private:
    enum class Stage : std::uint8_t { kKey = 1, kFactor, kInvite, kFirstCode, kDone };
    using Known = ledger::Holder;

    Status on_request(ssh_message message);
    Status on_key(ssh_message message);
    Status on_registered_key(ssh_message message, const keys::PublicKey& key, bool is_proven);
    Status on_joining_key(ssh_message message, const keys::PublicKey& key, bool is_proven);
    Status on_interactive(ssh_message message);
    Status on_factor(ssh_message message, const SecretBytes& answer);
    Status on_invite(ssh_message message, const SecretBytes& answer);
    Status on_first_code(ssh_message message, const SecretBytes& answer);
    // Wrong: the standard failure, so that the client asks again; the last one ends the connection.
    Status wrong(ssh_message message, const char* reason);

    Result<std::optional<Known>> look_up(const keys::PublicKey& key) const;
    void refuse(ssh_message message) const;
    void ask(ssh_message message, const std::string& prompt);
    void succeed(ssh_message message, const ledger::User& user, const ledger::Key& key);

    Transport& transport_;
    const Parts parts_;
    Admission::Ticket& ticket_;
    const std::string from_;
    const Limits limits_;
    Stage stage_ = Stage::kKey;
    unsigned requests_ = 0;
    unsigned attempts_ = 0;
    bool has_asked_ = false;
    bool is_enrolling_ = false;
    std::string name_; // of the first request; may not change
    std::optional<Known> known_;
    std::optional<keys::PublicKey> joining_key_;
    std::optional<unlock::Pending> pending_;
    SecretBytes invite_;
    desk::Caller caller_;
};

} // namespace latchkey::door
