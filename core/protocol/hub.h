// SPDX-License-Identifier: Apache-2.0
#pragma once
// The hub protocol: agent <-> broker over TLS 1.3, both sides pinned by their SSH keys
// (core/keys/tls_identity.h). The agent speaks first: Join on its first connection ever, else Hello. Requests
// carry a number that the answer repeats. Bytes, limits and order: docs/protocol-hub.md.

#include <string>
#include <string_view>
#include <vector>

#include "core/protocol/codec.h"
#include "core/protocol/join_token.h"

namespace latchkey::protocol {

inline constexpr std::uint32_t kHubVersion = 1;

struct KeyValue {
    std::string name;
    std::string value;
    void fields(auto& archive) { archive(name, value); }
    auto operator<=>(const KeyValue&) const = default;
};

// Agent -> broker, with a join token; the key that joins is the one that TLS proved.
struct Join {
    static constexpr Type kType = Type::kJoin;
    std::string token_id;
    SecretBytes token_secret;
    VmName name; // asked for; the token's pattern judges it
    std::vector<KeyValue> labels;
    Extensions extensions;
    void fields(auto& archive) { archive(token_id, token_secret, name, labels); }
};

struct Joined {
    static constexpr Type kType = Type::kJoined;
    VmId vm_id;
    VmName name;
    Extensions extensions;
    void fields(auto& archive) { archive(vm_id, name); }
};

// In a Hello: send everything in force, as a full set. A broker that does not know it sends what is new.
inline constexpr std::string_view kResyncExtension = "resync";

struct Hello {
    static constexpr Type kType = Type::kHello;
    std::uint32_t version_min = kHubVersion;
    std::uint32_t version_max = kHubVersion;
    std::vector<std::string> capabilities;
    std::string software; // "latchkey-agent 0.1.0"
    Epoch epoch;          // the last one on the agent's disk
    Micros time;          // the agent's own clock
    Extensions extensions;
    void fields(auto& archive) { archive(version_min, version_max, capabilities, software, epoch, time); }
};

// What a VM trusts and gates, as it stands now; replaces what the agent held.
struct TrustSet {
    std::vector<Bytes> ca_keys;     // public key blobs
    std::vector<Bytes> ledger_keys; // public key blobs
    std::vector<Login> managed_logins;
    std::uint32_t offline_grace_seconds = 3600; // 0: never serve offline
    void fields(auto& archive) { archive(ca_keys, ledger_keys, managed_logins, offline_grace_seconds); }
};

struct Welcome {
    static constexpr Type kType = Type::kWelcome;
    std::uint32_t version = kHubVersion;
    std::vector<std::string> capabilities;
    std::string software;
    VmId vm_id;
    VmName vm_name;
    Micros time; // the broker's clock
    Epoch epoch; // the agent serves once it has applied revocations up to here
    bool full =
        false; // the Revoke messages that follow replace the agent's set (they are everything in force)
    std::uint32_t heartbeat_seconds = 5;
    TrustSet trust;
    Extensions extensions;
    void fields(auto& archive) {
        archive(version, capabilities, software, vm_id, vm_name, time, epoch, full, heartbeat_seconds, trust);
    }
};

// Carried as the extension "brokers" of a Welcome: where else brokers of the same database and key listen, in
// place of what was said before. Nothing said, or what does not parse: what the agent knows stands.
inline constexpr std::size_t kMaxBrokers = 16;
std::optional<std::vector<BrokerAddress>> brokers_of(const Welcome& welcome);
void set_brokers(Welcome& welcome, const std::vector<BrokerAddress>& brokers);
// One address after the other, as strings; kMalformed, kTooLarge over kMaxBrokers.
Bytes encode_brokers(const std::vector<BrokerAddress>& brokers);
Result<std::vector<BrokerAddress>> decode_brokers(ByteView encoded);

struct Trust {
    static constexpr Type kType = Type::kTrust;
    TrustSet trust;
    Extensions extensions;
    void fields(auto& archive) { archive(trust); }
};

// Agent -> broker: may this key log in here as this account? serial and digest name a certificate that the
// client offered; serial 0: the plain key alone.
struct Fetch {
    static constexpr Type kType = Type::kFetch;
    std::uint64_t request = 0;
    Login login;
    Fingerprint key;
    Serial serial;
    Bytes certificate_digest; // SHA-256 of the offered certificate, empty with serial 0
    Extensions extensions;
    void fields(auto& archive) { archive(request, login, key, serial, certificate_digest); }
};

// What one policy rule allows at this VM for this login, as authorized_keys options say it.
struct GrantLine {
    RowId rule;
    std::vector<std::string> allow; // pty, port-forwarding, agent-forwarding, X11-forwarding, user-rc
    std::string from;               // comma-separated CIDRs, empty: anywhere
    std::string command;            // forced command, empty: none
    bool verify_required = false;
    void fields(auto& archive) { archive(rule, allow, from, command, verify_required); }
    auto operator<=>(const GrantLine&) const = default;
};

enum class GrantDecision : std::uint8_t { kAllow = 1, kDeny, kLast = kDeny };

// Broker -> agent: the answer to Fetch, or unasked (request 0) as a prefetch. An allow holds until ends_at
// and no longer than the certificate. Names one key, one login, this VM.
struct Grant {
    static constexpr Type kType = Type::kGrant;
    std::uint64_t request = 0;
    GrantDecision decision = GrantDecision::kDeny;
    std::string reason; // for logs and explain
    UserName user;
    Login login;
    Fingerprint key;
    Bytes certificate; // blob
    Bytes statement;
    std::vector<GrantLine> lines;
    Micros ends_at; // broker time
    Extensions extensions;
    void fields(auto& archive) {
        archive(request, decision, reason, user, login, key, certificate, statement, lines, ends_at);
    }
};

// What a rule of policy says about sudo. Several rules: the strictest one counts.
enum class SudoRule : std::uint8_t {
    kUnsaid = 1, // nothing: the VM's own sudo configuration decides
    kFree,       // no code is asked for
    kFactor,     // a fresh code of the second factor
    kDenied,     // no sudo
    kLast = kDenied
};

// "", "free", "factor", "none": as policy is written and shown.
std::string_view word_of(SudoRule rule);

// Carried as the extension "sudo" of a Grant, so that a VM without a broker still knows it. An agent that
// does not know a later rule takes it for kFactor.
SudoRule sudo_rule_of(const Grant& grant);
void set_sudo_rule(Grant& grant, SudoRule rule);

// In Hello: the agent asks the broker about sudo. In Welcome: the broker can be asked.
inline constexpr std::string_view kStepUpCapability = "step-up";

// Agent -> broker: may the person of this session use sudo now? Without a code: what does policy say?
struct HubStepUp {
    static constexpr Type kType = Type::kHubStepUp;
    std::uint64_t request = 0;
    std::uint64_t session = 0; // as in SessionEvent
    UserName user;
    Login login;
    Fingerprint key;
    SecretBytes code;
    Extensions extensions;
    void fields(auto& archive) { archive(request, session, user, login, key, code); }
};

enum class StepUpDecision : std::uint8_t {
    kUnsaid = 1, // policy says nothing about sudo here
    kAllow,      // with a code: until ends_at
    kAsk,        // a code is due, or this one did not do
    kDeny,
    kLast = kDeny
};

struct HubStepUpAnswer {
    static constexpr Type kType = Type::kHubStepUpAnswer;
    std::uint64_t request = 0;
    StepUpDecision decision = StepUpDecision::kDeny;
    std::string reason; // one line for the person
    Micros ends_at;     // broker time: until then no other code is due in this session; 0 without a code
    Extensions extensions;
    void fields(auto& archive) { archive(request, decision, reason, ends_at); }
};

struct RevocationEntry {
    Epoch epoch;
    std::string kind; // "user", "key", "cert", "vm", "ca", "before"
    std::string text;
    Micros made_at;
    Micros drop_at;
    void fields(auto& archive) { archive(epoch, kind, text, made_at, drop_at); }
};

// Broker -> agent. After a Welcome: catch-up, `last` on the final one; later each revocation as it commits.
struct Revoke {
    static constexpr Type kType = Type::kRevoke;
    Epoch epoch; // the agent's epoch after this message
    std::vector<RevocationEntry> entries;
    bool last = true;
    Extensions extensions;
    void fields(auto& archive) { archive(epoch, entries, last); }
};

// Agent -> broker: the signed receipt. The VM's key signs the bytes of receipt_signed_bytes().
struct Receipt {
    static constexpr Type kType = Type::kReceipt;
    Epoch epoch;
    VmId vm_id;
    std::uint32_t sessions_found = 0;
    std::uint32_t sessions_ended = 0;
    std::uint32_t grants_purged = 0;
    Micros time;         // broker time as the agent reckons it
    std::string trouble; // why a session could not be ended; empty if none
    Bytes signature;     // SSH signature blob by the VM's key
    Extensions extensions;
    void fields(auto& archive) {
        archive(epoch, vm_id, sessions_found, sessions_ended, grants_purged, time, trouble, signature);
    }
};

// string "latchkey-receipt-v1" and the receipt's fields before the signature.
Bytes receipt_signed_bytes(const Receipt& receipt);

enum class SessionPhase : std::uint8_t { kOpened = 1, kClosed, kEnded, kRefused, kLast = kRefused };

// Agent -> broker: a session's row. kRefused: a login that PAM turned away although a key had passed sshd.
struct SessionEvent {
    static constexpr Type kType = Type::kSessionEvent;
    std::uint64_t session = 0; // 63 random bits, made by the agent
    SessionPhase phase = SessionPhase::kOpened;
    UserName user;
    Login login;
    Fingerprint key;
    Serial serial;
    std::string from;
    Micros time;
    std::string reason;
    Extensions extensions;
    void fields(auto& archive) { archive(session, phase, user, login, key, serial, from, time, reason); }
};

// Broker -> agent: end this one session.
struct SessionEnd {
    static constexpr Type kType = Type::kSessionEnd;
    std::uint64_t session = 0;
    std::string reason;
    Extensions extensions;
    void fields(auto& archive) { archive(session, reason); }
};

enum class SessionOutcome : std::uint8_t { kEnded = 1, kWasGone, kStillThere, kLast = kStillThere };

// Agent -> broker: what became of a SessionEnd. An older agent says nothing.
struct SessionEnded {
    static constexpr Type kType = Type::kSessionEnded;
    std::uint64_t session = 0;
    SessionOutcome outcome = SessionOutcome::kStillThere;
    Extensions extensions;
    void fields(auto& archive) { archive(session, outcome); }
};

// Broker -> agent: something was taken away that needs no revocation (a rule, a membership, an unlock). Ask
// again before a grant from before this message is served; without a broker it still serves until it ends.
struct Refresh {
    static constexpr Type kType = Type::kRefresh;
    Extensions extensions;
    void fields(auto&) {}
};

// Agent -> broker: something about this VM that somebody must know of, kept until Reported answers it. kind
// is a word (rollback, state, break-glass), the text one line.
struct Report {
    static constexpr Type kType = Type::kReport;
    std::uint64_t id = 0; // 63 bits, made by the agent: one that comes twice is one
    std::string kind;
    Micros time; // broker time as the agent reckons it
    std::string text;
    Extensions extensions;
    void fields(auto& archive) { archive(id, kind, time, text); }
};

// Broker -> agent: it is recorded.
struct Reported {
    static constexpr Type kType = Type::kReported;
    std::uint64_t id = 0;
    Extensions extensions;
    void fields(auto& archive) { archive(id); }
};

// Both ways, every heartbeat_seconds.
struct Heartbeat {
    static constexpr Type kType = Type::kHeartbeat;
    Micros time;
    Epoch epoch;
    Extensions extensions;
    void fields(auto& archive) { archive(time, epoch); }
};

} // namespace latchkey::protocol
