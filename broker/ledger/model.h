// SPDX-License-Identifier: Apache-2.0
#pragma once
// The rows of the ledger as values. Times are Micros (0 = never), ids are made by the broker. Rows that
// decide access carry a MAC in the database, checked when they are read: a row that fails is left out, and
// reported, on an allow path, and stays in force if it is a revocation. What is here has passed that check.

#include <cstdint>
#include <string>
#include <vector>

#include "core/base/bytes.h"
#include "core/base/clock.h"
#include "core/base/names.h"
#include "core/base/secret_bytes.h"
#include "core/protocol/hub.h"
#include "core/revocation/revocation.h"

namespace latchkey::ledger {

enum class Role : std::uint8_t { kUser = 1, kAuditor, kAdmin };
enum class UserState : std::uint8_t { kActive = 1, kLocked, kRemoved };

struct User {
    RowId id;
    UserName name;
    std::string email;
    Role role = Role::kUser;
    UserState state = UserState::kActive;
    std::string lock_reason;
    Micros created_at;
};

struct Key {
    RowId id;
    RowId user;
    Fingerprint fingerprint;
    Bytes blob; // public key blob
    std::string name;
    Micros added_at;
};

struct FactorRow {
    RowId id;
    RowId user;
    std::string kind;          // "totp", "recovery"
    SecretBytes state;         // sealed in the database
    std::uint64_t version = 0; // compare-and-swap
    Micros added_at;
};

struct Unlock {
    RowId id;
    RowId user;
    RowId key;
    Micros opened_at;
    Micros ends_at;
    Micros factor_at; // when the second factor was last checked
};

struct Group {
    RowId id;
    GroupName name;
    Micros created_at;
};

// One rule of policy: members of the group may log in as these logins on the VMs that the selector names.
struct Rule {
    RowId id;
    RowId group;
    GroupName group_name;
    std::string vm_selector; // "web-*" (name pattern), "label=value", "*"
    std::vector<Login> logins;
    std::uint32_t ttl_seconds = 3600;
    std::string from;               // CIDRs, comma-separated; empty: anywhere
    std::string command;            // empty: none forced
    std::vector<std::string> allow; // pty, port-forwarding, agent-forwarding, X11-forwarding, user-rc
    bool verify_required = false;
    protocol::SudoRule sudo = protocol::SudoRule::kUnsaid;
    std::uint32_t sudo_grace_seconds =
        0; // with kFactor: how long a code is good for more sudo of its session
    Micros created_at;
    bool operator==(const Rule&) const = default;
};

enum class VmState : std::uint8_t { kActive = 1, kRemoved };

struct Vm {
    VmId id;
    VmName name;
    Bytes key; // 32 raw ed25519 bytes: its identity
    std::vector<protocol::KeyValue> labels;
    VmState state = VmState::kActive;
    std::uint32_t offline_grace_seconds = 3600;
    Micros joined_at;
    // Not under the MAC: reported by the VM, decide nothing.
    Micros last_seen;
    Epoch confirmed_epoch;
    std::int64_t clock_offset_micros = 0;
    std::string software;
    std::string trouble;
};

struct JoinToken {
    std::string id;
    Bytes secret_hash; // SHA-256
    std::uint32_t uses_left = 0;
    Micros ends_at;
    std::string name_pattern;
    std::vector<protocol::KeyValue> labels;
};

struct CertificateRow {
    Serial serial;
    RowId user;
    RowId key;
    RowId unlock;
    Fingerprint key_fingerprint;
    Fingerprint ca_fingerprint;
    Bytes blob;
    Bytes digest;    // SHA-256 of the blob
    Bytes statement; // encoded and signed
    Sequence sequence;
    Epoch epoch;
    Micros issued_at;
    Micros ends_at;
};

struct RevocationRow {
    RowId id;
    revocation::Revocation revocation;
    std::string reason;
    std::string actor;
};

struct ReceiptRow {
    Epoch epoch;
    VmId vm;
    VmName vm_name;
    Fingerprint vm_key;        // which signed it
    protocol::Receipt receipt; // as the VM signed it
    Micros received_at;
};

struct SessionRow {
    std::uint64_t id = 0;
    VmId vm;
    VmName vm_name;
    UserName user;
    Login login;
    Fingerprint key;
    Serial serial;
    std::string from;
    Micros opened_at;
    Micros closed_at; // 0: live, as far as we have heard
    protocol::SessionPhase phase = protocol::SessionPhase::kOpened;
    std::string end_reason;
    Micros vm_last_seen; // as its row says: up to a minute old
};

struct AuditEvent {
    std::string actor;   // user name, "vm:NAME", "latchkeyd"
    std::string action;  // "unlock.open", "certificate.issue", … (docs/audit.md)
    std::string object;  // what it was done to
    std::string outcome; // "allow", "deny", "done"
    std::string detail;  // JSON object, fixed field names, no secrets
};

struct AuditRow {
    std::uint64_t sequence = 0;
    Micros at;
    AuditEvent event;
    Bytes hash; // SHA-256 over the previous hash and this row
};

} // namespace latchkey::ledger
