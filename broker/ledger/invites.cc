// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/audit.h"
#include "broker/ledger/detail.h"
#include "broker/ledger/factors.h"
#include "broker/ledger/random_word.h"
#include "broker/ledger/tables.h"
#include "broker/ledger/users.h"
#include "core/keys/openssl.h"

namespace latchkey::ledger {

struct Invite {
    RowId id;
    RowId user;
    Bytes code_hash;
    Micros ends_at;
    Micros spent_at; // 0: open
};

template <>
struct Table<Invite> {
    static constexpr std::string_view kName = "invites";
    static std::uint64_t id(const Invite& invite) { return invite.id.value; }
    static void read(Columns& columns, std::uint64_t id, Invite& invite) {
        invite.id = {id};
        invite.user = columns.id<RowId>();
        invite.code_hash = columns.bytes();
        invite.ends_at = columns.micros();
        invite.spent_at = columns.micros();
    }
    static void encode(wire::Writer& writer, const Invite& invite) {
        writer.u64(invite.user.value);
        writer.string(invite.code_hash);
        writer.u64(static_cast<std::uint64_t>(invite.ends_at.value));
        writer.u64(static_cast<std::uint64_t>(invite.spent_at.value));
    }
};

namespace {

constexpr std::size_t kCodeLength = 16; // 80 bits
constexpr std::size_t kGroup = 4;
constexpr std::size_t kTypedLimit = 64;

std::string grouped(std::string_view code) {
    std::string shown;
    for (std::size_t i = 0; i < code.size(); i += kGroup) {
        if (i > 0) shown += '-';
        shown += code.substr(i, kGroup);
    }
    return shown;
}

// As people type it: any case, with blanks or other dashes, o for 0 and i or l for 1. Empty: not a code.
std::string normalised(std::string_view typed) {
    std::string code;
    if (typed.size() > kTypedLimit) return {};
    for (char c : typed) {
        if (c == '-' || c == ' ' || c == '\t' || c == '\r' || c == '\n') continue;
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
        if (c == 'o') c = '0';
        if (c == 'i' || c == 'l') c = '1';
        if (kWordAlphabet.find(c) == std::string_view::npos) return {};
        code += c;
    }
    return code.size() == kCodeLength ? code : std::string();
}

Bytes hash_of(std::string_view code) {
    return to_bytes(keys::sha256(as_bytes(code)));
}

Failure no_such_code() {
    return fail(Code::kNotFound, "the invite code is wrong", "ask an admin for a new one");
}

struct Found {
    Stored<Invite> invite;
    User user;
};

Result<Found> find_open(Transaction& t, std::string_view typed) {
    const std::string code = normalised(typed);
    if (code.empty()) return no_such_code();
    LK_TRY(stored, find_row<Invite>(t,
                                    "SELECT id, version, user_id, code_hash, ends_at, spent_at, mac "
                                    "FROM invites WHERE code_hash = $1",
                                    hash_of(code)));
    if (!stored) return no_such_code();
    const Invite& invite = stored->value;
    if (invite.spent_at.value != 0) {
        return fail(Code::kConflict, "the invite code was used before", "ask an admin for a new one");
    }
    if (invite.ends_at <= t.now) {
        return fail(Code::kExpired, "the invite code has expired", "ask an admin for a new one");
    }
    LK_TRY(user, need_active_user(t, invite.user));
    return Found{std::move(*stored), std::move(user)};
}

} // namespace

Result<std::string> add_invite(Transaction& t, RowId user, Micros ends_at, const std::string& actor) {
    LK_TRY(owner, need_active_user(t, user));
    if (ends_at <= t.now) return fail(Code::kUsage, "an invite must end in the future");
    // The newest counts; those before it that were not used end here.
    LK_CHECK(execute(t, "DELETE FROM invites WHERE user_id = $1 AND spent_at = 0", user));
    const std::string code = random_word(kCodeLength);
    const Invite invite{
        .id = t.new_id(), .user = user, .code_hash = hash_of(code), .ends_at = ends_at, .spent_at = {}};
    LK_CHECK(execute(t,
                     "INSERT INTO invites (id, version, user_id, code_hash, ends_at, spent_at, mac) "
                     "VALUES ($1, 1, $2, $3, $4, 0, $5)",
                     invite.id, invite.user, invite.code_hash, invite.ends_at, mac_of(t, invite, 1)));
    LK_CHECK(append_audit(t, {actor, "invite.add", owner.name.str(), "done",
                              Detail().id("id", invite.id.value).time("ends_at", ends_at).json()}));
    return grouped(code);
}

Result<User> check_invite(Transaction& t, std::string_view code) {
    LK_TRY(found, find_open(t, code));
    return std::move(found.user);
}

Status spend_invite(Transaction& t, std::string_view code) {
    LK_TRY(found, find_open(t, code));
    Invite& invite = found.invite.value;
    invite.spent_at = t.now;
    const std::uint64_t next = found.invite.version + 1;
    LK_TRY(done, query(t,
                       "UPDATE invites SET version = $3, spent_at = $4, mac = $5 "
                       "WHERE id = $1 AND version = $2 AND spent_at = 0",
                       invite.id, found.invite.version, next, invite.spent_at, mac_of(t, invite, next)));
    if (done.changed != 1) return fail(Code::kConflict, "the invite code was used before");
    return append_audit(t, {found.user.name.str(), "invite.spend", found.user.name.str(), "done",
                            Detail().id("id", invite.id.value).json()});
}

Status look_at_invites(Transaction& t) {
    return look_at_all<Invite>(t,
                               "SELECT id, version, user_id, code_hash, ends_at, spent_at, mac FROM invites "
                               "WHERE id > $1 ORDER BY id LIMIT $2");
}

} // namespace latchkey::ledger
