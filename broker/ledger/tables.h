// SPDX-License-Identifier: Apache-2.0
#pragma once
// The rows that decide access: their columns, their MAC's content, and the steps that more than one file of
// the ledger takes with them. Inside the ledger only.

#include "broker/ledger/rows.h"

// id, version, content …, mac, in the order in which Table<T>::read takes them.
#define LK_USER_COLUMNS \
    "u.id, u.version, u.name, u.email, u.role, u.state, u.lock_reason, u.created_at, u.mac"
#define LK_KEY_COLUMNS \
    "k.id, k.version, k.user_id, k.fingerprint, k.key_blob, k.name, k.state, k.added_at, k.mac"
#define LK_UNLOCK_COLUMNS \
    "n.id, n.version, n.user_id, n.key_id, n.opened_at, n.ends_at, n.factor_at, n.ended_at, n.mac"
#define LK_GROUP_COLUMNS "g.id, g.version, g.name, g.created_at, g.mac"
#define LK_MEMBER_COLUMNS "m.group_id, m.version, m.user_id, m.added_at, m.mac"
#define LK_VM_COLUMNS                                                                               \
    "v.id, v.version, v.name, v.raw_key, v.labels, v.state, v.offline_grace_seconds, v.joined_at, " \
    "v.mac, v.last_seen, v.confirmed_epoch, v.clock_offset_micros, v.software, v.trouble"
// A certificate's row never changes: its version is always 1.
#define LK_CERTIFICATE_COLUMNS                                                                         \
    "c.sequence, 1, c.serial, c.user_id, c.key_id, c.unlock_id, c.key_fingerprint, c.ca_fingerprint, " \
    "c.certificate, c.digest, c.statement, c.epoch, c.issued_at, c.ends_at, c.mac"
// Both of the epoch's places, for take_epoch().
#define LK_EPOCH_COLUMNS                                                     \
    "COALESCE((SELECT e.value FROM counters e WHERE e.name = 'epoch'), 0), " \
    "COALESCE((SELECT MAX(r.epoch) FROM revocations r), 0)"

namespace latchkey::ledger {

enum class KeyState : std::uint8_t { kRegistered = 1, kRemoved };

struct KeyRow {
    Key key;
    KeyState state = KeyState::kRegistered;
};

struct UnlockRow {
    Unlock unlock;
    Micros ended_at; // 0: not taken away
};

struct Member {
    RowId group;
    RowId user;
    Micros added_at;
};

template <>
struct Table<User> {
    static constexpr std::string_view kName = "users";
    static std::uint64_t id(const User& user) { return user.id.value; }
    static void read(Columns& columns, std::uint64_t id, User& user);
    static void encode(wire::Writer& writer, const User& user);
};

template <>
struct Table<KeyRow> {
    static constexpr std::string_view kName = "keys";
    static std::uint64_t id(const KeyRow& row) { return row.key.id.value; }
    static void read(Columns& columns, std::uint64_t id, KeyRow& row);
    static void encode(wire::Writer& writer, const KeyRow& row);
};

template <>
struct Table<UnlockRow> {
    static constexpr std::string_view kName = "unlocks";
    static std::uint64_t id(const UnlockRow& row) { return row.unlock.id.value; }
    static void read(Columns& columns, std::uint64_t id, UnlockRow& row);
    static void encode(wire::Writer& writer, const UnlockRow& row);
};

template <>
struct Table<Group> {
    static constexpr std::string_view kName = "user_groups";
    static std::uint64_t id(const Group& group) { return group.id.value; }
    static void read(Columns& columns, std::uint64_t id, Group& group);
    static void encode(wire::Writer& writer, const Group& group);
};

template <>
struct Table<Member> { // named by its group; the user is content
    static constexpr std::string_view kName = "members";
    static std::uint64_t id(const Member& member) { return member.group.value; }
    static void read(Columns& columns, std::uint64_t id, Member& member);
    static void encode(wire::Writer& writer, const Member& member);
};

template <>
struct Table<Vm> {
    static constexpr std::string_view kName = "vms";
    static std::uint64_t id(const Vm& vm) { return vm.id.value; }
    static void read(Columns& columns, std::uint64_t id, Vm& vm);
    static void encode(wire::Writer& writer, const Vm& vm);
};

template <>
struct Table<CertificateRow> {
    static constexpr std::string_view kName = "certificates";
    static std::uint64_t id(const CertificateRow& row) { return row.sequence.value; }
    static void read(Columns& columns, std::uint64_t id, CertificateRow& row);
    static void encode(wire::Writer& writer, const CertificateRow& row);
};

Bytes encode_labels(const std::vector<protocol::KeyValue>& labels);
std::optional<std::vector<protocol::KeyValue>> decode_labels(ByteView encoded);

bool is_live(const UnlockRow& row, Micros now);
// The counter or the rows, whichever is ahead: one of them set back by hand hides nothing.
Epoch take_epoch(Columns& columns);

// users.cc. The version is compared; the row written is the next one.
Status update_user(Transaction& t, const Stored<User>& stored);
Result<std::optional<Stored<User>>> find_stored_user(Transaction& t, RowId id);
Result<User> need_active_user(Transaction& t, RowId id); // kNotFound, kLocked
Result<User> need_active(std::optional<Stored<User>> stored);

// keys.cc. Registered ones only; the last two take rows that fail their check too.
Result<std::optional<Key>> find_key_by_id(Transaction& t, RowId id);
std::optional<Key> if_registered(std::optional<Stored<KeyRow>> stored);
Status remove_keys_with(Transaction& t, const Fingerprint& fingerprint);
Status remove_keys_of_user(Transaction& t, RowId user);

// unlocks.cc: no audit row, that is the caller's.
Status end_unlocks_of_user(Transaction& t, RowId user);
Status end_unlocks_of_key(Transaction& t, RowId key);

// Each in its noun's file, for contradictions.cc: all rows read, so that one that does not fit is reported.
Status look_at_certificates(Transaction& t);
Status look_at_factors(Transaction& t);
Status look_at_invites(Transaction& t);
Status look_at_join_tokens(Transaction& t);
Status look_at_rules(Transaction& t);

} // namespace latchkey::ledger
