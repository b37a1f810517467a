// SPDX-License-Identifier: Apache-2.0
#pragma once
// The local protocol: helper and PAM module ask the agent on its Unix socket; one request, one answer, one
// absolute deadline of 2 s (6 s for StepUpCode). Which sshd monitor stands behind a request, the agent reads
// from the kernel (SO_PEERCRED and /proc): no pid is ever sent. Bytes: docs/protocol-local.md.

#include <string>
#include <vector>

#include "core/protocol/codec.h"

namespace latchkey::protocol {

// How long a StepUpCode may take in all; the agent gives the broker a second less.
inline constexpr Micros kStepUpCodeTime = from_seconds(6);

// A request that cannot be served: answered to any type.
struct Unsupported {
    static constexpr Type kType = Type::kUnsupported;
    std::uint8_t type = 0;
    Extensions extensions;
    void fields(auto& archive) { archive(type); }
};

struct Refused {
    static constexpr Type kType = Type::kRefused;
    std::string code; // a name of core/base/error.h
    std::string message;
    std::string next;
    Extensions extensions;
    void fields(auto& archive) { archive(code, message, next); }
};

// Helper: may this key log in as this account? Fields as sshd gave them (%u %t %k %f).
struct Authorize {
    static constexpr Type kType = Type::kAuthorize;
    Login login;
    std::string key_type;
    Bytes key_blob; // for a certificate the whole certificate
    Fingerprint fingerprint;
    Extensions extensions;
    void fields(auto& archive) { archive(login, key_type, key_blob, fingerprint); }
};

// Lines for sshd, one a grant that allows; none: denied. The reason is for the agent's log, never for the
// client.
struct Authorized {
    static constexpr Type kType = Type::kAuthorized;
    std::vector<std::string> lines;
    std::string reason;
    Extensions extensions;
    void fields(auto& archive) { archive(lines, reason); }
};

// Extension of an answer without lines: the login is none of ours, and another command may be asked for it.
// Where it is missing (an agent that does not know it), the login counts as managed.
inline constexpr std::string_view kUnmanagedMark = "unmanaged";
inline void mark_unmanaged(Authorized& answer) {
    answer.extensions.push_back({std::string(kUnmanagedMark), {}});
}
inline bool says_unmanaged(const Authorized& answer) {
    for (const Extension& extension : answer.extensions) {
        if (extension.name == kUnmanagedMark) return answer.lines.empty();
    }
    return false;
}

enum class Verdict : std::uint8_t {
    kUnmanaged = 1, // not an account of ours: PAM_IGNORE
    kAllow,
    kDeny,
    kLast = kDeny
};

// PAM account phase, asked by the sshd monitor itself.
struct AccountCheck {
    static constexpr Type kType = Type::kAccountCheck;
    Login login;
    std::string service;     // PAM_SERVICE
    std::string remote_host; // PAM_RHOST
    Extensions extensions;
    void fields(auto& archive) { archive(login, service, remote_host); }
};

struct AccountAnswer {
    static constexpr Type kType = Type::kAccountAnswer;
    Verdict verdict = Verdict::kDeny;
    std::string reason;
    Extensions extensions;
    void fields(auto& archive) { archive(verdict, reason); }
};

// PAM session phase: binds the session to the exact credential.
struct SessionOpen {
    static constexpr Type kType = Type::kSessionOpen;
    Login login;
    std::string service;
    std::string remote_host;
    std::string
        auth_info; // SSH_AUTH_INFO_0: "publickey TYPE BASE64\n", for a certificate the whole certificate
    std::string
        xdg_session; // XDG_SESSION_ID as pam_systemd set it; a hint, the agent reads the cgroup itself
    Extensions extensions;
    void fields(auto& archive) { archive(login, service, remote_host, auth_info, xdg_session); }
};

struct SessionAnswer {
    static constexpr Type kType = Type::kSessionAnswer;
    Verdict verdict = Verdict::kDeny;
    std::string reason;
    Extensions extensions;
    void fields(auto& archive) { archive(verdict, reason); }
};

struct SessionClose {
    static constexpr Type kType = Type::kSessionClose;
    Login login;
    Extensions extensions;
    void fields(auto& archive) { archive(login); }
};

struct Acknowledged {
    static constexpr Type kType = Type::kAcknowledged;
    Extensions extensions;
    void fields(auto&) {}
};

// sudo's auth phase, asked by sudo itself: is a code due? Needs no person, so it has 2 s like the others.
struct StepUp {
    static constexpr Type kType = Type::kStepUp;
    Login login;         // PAM_USER: who called sudo
    std::string service; // PAM_SERVICE
    Extensions extensions;
    void fields(auto& archive) { archive(login, service); }
};

// The code that the person typed. The broker judges it: kStepUpCodeTime for the whole exchange.
struct StepUpCode {
    static constexpr Type kType = Type::kStepUpCode;
    Login login;
    std::string service;
    SecretBytes code;
    Extensions extensions;
    void fields(auto& archive) { archive(login, service, code); }
};

enum class StepUpVerdict : std::uint8_t {
    kUnmanaged = 1, // Latchkey has no say here: PAM_IGNORE
    kAllow,
    kAsk, // with `prompt`; in the answer to a code: this one did not do, another may
    kDeny,
    kLast = kDeny
};

struct StepUpAnswer {
    static constexpr Type kType = Type::kStepUpAnswer;
    StepUpVerdict verdict = StepUpVerdict::kDeny;
    std::string prompt;
    std::string reason; // one line for the person, with what to do next
    Extensions extensions;
    void fields(auto& archive) { archive(verdict, prompt, reason); }
};

// Root only: what `latchkey-agent status` prints.
struct AgentStatus {
    static constexpr Type kType = Type::kAgentStatus;
    Extensions extensions;
    void fields(auto&) {}
};

// Root only: why this VM would let the plain key in, or not. The answer's last line is the verdict.
struct ExplainLogin {
    static constexpr Type kType = Type::kExplainLogin;
    Login login;
    Fingerprint key;
    Extensions extensions;
    void fields(auto& archive) { archive(login, key); }
};

struct ExplainLoginAnswer {
    static constexpr Type kType = Type::kExplainLoginAnswer;
    std::vector<std::string> lines;
    Extensions extensions;
    void fields(auto& archive) { archive(lines); }
};

struct LiveSession {
    std::uint64_t id = 0;
    UserName user;
    Login login;
    Fingerprint key;
    Serial serial;
    std::string from;
    Micros since;
    std::uint32_t monitor_pid = 0;
    void fields(auto& archive) { archive(id, user, login, key, serial, from, since, monitor_pid); }
};

struct AgentStatusAnswer {
    static constexpr Type kType = Type::kAgentStatusAnswer;
    bool connected = false;
    bool serving = false; // lease holds: grants may be served
    VmName vm;
    std::string broker;
    Epoch epoch;
    Micros last_heartbeat;              // broker time
    std::uint64_t offset_magnitude = 0; // micros between broker time and ours
    bool broker_is_ahead = false;
    std::string version;
    std::string trouble; // one line, empty if none
    std::uint32_t cached_grants = 0;
    std::vector<LiveSession> sessions;
    std::vector<Login> managed_logins;
    Extensions extensions;
    void fields(auto& archive) {
        archive(connected, serving, vm, broker, epoch, last_heartbeat, offset_magnitude, broker_is_ahead,
                version, trouble, cached_grants, sessions, managed_logins);
    }
};

// Extension of an AgentStatusAnswer: how many managed logins there are beyond those that it lists; uint32.
inline constexpr std::string_view kMoreManagedExtension = "more-managed";
inline void set_more_managed(AgentStatusAnswer& answer, std::uint32_t count) {
    wire::Writer writer;
    writer.u32(count);
    answer.extensions.push_back({std::string(kMoreManagedExtension), writer.take()});
}
inline std::uint32_t more_managed(const AgentStatusAnswer& answer) {
    for (const Extension& extension : answer.extensions) {
        if (extension.name == kMoreManagedExtension) return wire::Reader(extension.value).u32().value_or(0);
    }
    return 0;
}

} // namespace latchkey::protocol
