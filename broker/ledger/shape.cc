// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/shape.h"

namespace latchkey::ledger {
namespace {

using Names = std::string_view[];

constexpr Names kCounters = {"name", "value"};
constexpr Names kSettings = {"name", "version", "value", "mac"};
constexpr Names kUsers = {"id",    "version",     "name",       "email", "role",
                          "state", "lock_reason", "created_at", "mac"};
constexpr Names kKeys = {"id",   "version", "user_id",  "fingerprint", "key_blob",
                         "name", "state",   "added_at", "mac"};
constexpr Names kFactors = {"id", "version", "user_id", "kind", "added_at", "sealed"};
constexpr Names kFailures = {"user_id", "times", "level", "blocked_until"};
constexpr Names kInvites = {"id", "version", "user_id", "code_hash", "ends_at", "spent_at", "mac"};
constexpr Names kUnlocks = {"id",      "version",   "user_id",  "key_id", "opened_at",
                            "ends_at", "factor_at", "ended_at", "mac",    "certificates"};
constexpr Names kGroups = {"id", "version", "name", "created_at", "mac"};
constexpr Names kMembers = {"group_id", "user_id", "version", "added_at", "mac"};
constexpr Names kRules = {"id",          "version",       "group_id", "vm_selector",       "logins",
                          "ttl_seconds", "from_networks", "command",  "allowed",           "verify_required",
                          "created_at",  "mac",           "sudo",     "sudo_grace_seconds"};
constexpr Names kVms = {"id",
                        "version",
                        "name",
                        "raw_key",
                        "labels",
                        "state",
                        "offline_grace_seconds",
                        "joined_at",
                        "mac",
                        "last_seen",
                        "confirmed_epoch",
                        "clock_offset_micros",
                        "software",
                        "trouble",
                        "broker_id",
                        "asks_about_sudo"};
constexpr Names kJoinTokens = {"id",      "version",      "secret_hash", "uses_left",
                               "ends_at", "name_pattern", "labels",      "mac"};
constexpr Names kCertificates = {"sequence",        "serial",         "user_id",     "key_id", "unlock_id",
                                 "key_fingerprint", "ca_fingerprint", "certificate", "digest", "statement",
                                 "epoch",           "issued_at",      "ends_at",     "mac"};
constexpr Names kRevocations = {"epoch",   "id",     "kind",  "text",   "made_at",
                                "drop_at", "reason", "actor", "record", "mac"};
constexpr Names kReceipts = {"epoch", "vm_id", "number", "receipt", "received_at"};
constexpr Names kSessions = {"id",           "vm_id",     "user_name", "login", "key_fingerprint", "serial",
                             "from_address", "opened_at", "closed_at", "phase", "end_reason"};
constexpr Names kVmReports = {"vm_id", "id", "kind", "made_at", "text", "received_at"};
constexpr Names kBrokers = {"id", "address", "seen_at"};
constexpr Names kSessionEnds = {"id", "vm_id", "session_id", "reason", "asked_at", "outcome"};
constexpr Names kAudit = {"sequence", "made_at", "actor", "action", "object", "outcome", "detail", "hash"};
constexpr Names kChainHead = {"id", "sequence", "hash", "mac"};

constexpr TableShape kTables[] = {
    {"counters", kCounters, 1},
    {"settings", kSettings, 1},
    {"users", kUsers, 1},
    {"keys", kKeys, 1},
    {"factors", kFactors, 1},
    {"failures", kFailures, 1},
    {"invites", kInvites, 1},
    {"unlocks", kUnlocks, 1},
    {"user_groups", kGroups, 1},
    {"members", kMembers, 2},
    {"rules", kRules, 1},
    {"vms", kVms, 1},
    {"join_tokens", kJoinTokens, 1},
    {"certificates", kCertificates, 1},
    {"revocations", kRevocations, 1},
    {"receipts", kReceipts, 3},
    {"sessions", kSessions, 1},
    {"vm_reports", kVmReports, 2},
    {"brokers", kBrokers, 1},
    {"session_ends", kSessionEnds, 1},
    {"audit", kAudit, 1},
    {"chain_head", kChainHead, 1},
};

} // namespace

std::span<const TableShape> tables() {
    return kTables;
}

} // namespace latchkey::ledger
