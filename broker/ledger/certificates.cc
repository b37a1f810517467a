// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/certificates.h"

#include "broker/ledger/audit.h"
#include "broker/ledger/detail.h"
#include "broker/ledger/tables.h"
#include "broker/ledger/users.h"
#include "core/cert/statement.h"

namespace latchkey::ledger {

namespace {

constexpr std::uint64_t kMostSeconds = INT64_MAX / 1'000'000;

// What decides whether a certificate may be made. Nobody else writes until our commit: what stands here
// stands then.
struct Standing {
    Meanwhile meanwhile;
    std::int64_t last_sequence = -1; // as the last commit left it
    std::int64_t epoch = -1;
    std::optional<Stored<UnlockRow>> unlock;
    std::optional<Stored<User>> user;  // the unlock's
    std::optional<Stored<KeyRow>> key; // the unlock's
};

constexpr std::string_view kSelectStanding =
    "SELECT COALESCE((SELECT c.value FROM counters c WHERE c.name = 'policy'), 0), "
    "COALESCE((SELECT c.value FROM counters c WHERE c.name = 'sequence'), -1), "
    "COALESCE((SELECT c.value FROM counters c WHERE c.name = 'epoch'), -1), "
    "COALESCE((SELECT MAX(c.sequence) FROM certificates c WHERE c.user_id = n.user_id AND "
    "c.unlock_id = n.id AND c.ends_at > $2), 0), " LK_UNLOCK_COLUMNS ", " LK_USER_COLUMNS ", " LK_KEY_COLUMNS
    " FROM unlocks n JOIN users u ON u.id = n.user_id JOIN keys k ON k.id = n.key_id WHERE n.id = $1";

Result<std::optional<Standing>> read_standing(Transaction& t, RowId unlock) {
    LK_TRY(row, query_one(t, kSelectStanding, unlock, t.now));
    if (!row) return std::optional<Standing>();
    Columns columns(*row);
    Standing standing;
    standing.meanwhile.policy_count = static_cast<std::uint64_t>(columns.integer());
    standing.last_sequence = columns.integer();
    standing.epoch = columns.integer();
    standing.meanwhile.last = columns.id<Sequence>();
    standing.unlock = take_row<UnlockRow>(t, columns);
    if (standing.unlock) standing.user = take_row<User>(t, columns); // after a bad one nothing is looked at
    if (standing.user) standing.key = take_row<KeyRow>(t, columns);
    return std::optional(std::move(standing));
}

Status check_unlock(const Transaction& t, const std::optional<Stored<UnlockRow>>& stored, RowId user,
                    RowId key) {
    if (!stored || stored->value.unlock.user != user || stored->value.unlock.key != key)
        return fail(Code::kNotFound, "no such unlock", "unlock again");
    if (stored->value.ended_at.value != 0 || stored->value.unlock.ends_at <= t.now)
        return fail(Code::kExpired, "the unlock has ended", "unlock again");
    return {};
}

Status check_content(const Transaction& t, const cert::Content& content, const User& user, const Key& key) {
    if (content.serial.value == 0 || content.serial.value > INT64_MAX)
        return fail(Code::kInternal, "a certificate whose serial is not of 63 bits");
    if (content.key_id != user.name.str() + "/" + std::to_string(content.serial.value))
        return fail(Code::kInternal, "a certificate whose key id is not user/serial");
    if (content.subject.blob() != key.blob)
        return fail(Code::kInternal, "a certificate for another key than the registered one");
    if (content.valid_before > kMostSeconds ||
        from_seconds(static_cast<std::int64_t>(content.valid_before)) <= t.now)
        return fail(Code::kExpired, "a certificate that has ended, or never ends");
    return {};
}

Failure lost_counters() {
    return fail(Code::kTampered, "the database has lost its counters", "restore the last backup");
}

std::vector<Serial> serials_in(const plugin_host::Rows& rows) {
    std::vector<Serial> serials;
    serials.reserve(rows.rows.size());
    for (const Row& row : rows.rows) serials.push_back(Columns(row).id<Serial>());
    return serials;
}

// The next one; given back with t.scratch where the job fails.
Sequence take_sequence(Transaction& t, std::int64_t last) {
    if (!t.scratch.sequence) t.scratch.sequence = Sequence{static_cast<std::uint64_t>(last)};
    ++t.scratch.sequence->value;
    return *t.scratch.sequence;
}

std::optional<CertificateRow> value_of(std::optional<Stored<CertificateRow>> stored) {
    if (!stored) return std::nullopt;
    return std::move(stored->value);
}

} // namespace

Result<CertificateRow> record_certificate(Transaction& t, const cert::Certificate& certificate, RowId user,
                                          RowId key, RowId unlock, const keys::PrivateKey& ledger_key,
                                          const std::string& actor, const IssueCheck& check) {
    if (!t.scratch.is_writing) return fail(Code::kInternal, "a change inside a reading job");
    LK_TRY(found, read_standing(t, unlock));
    Standing standing = found ? std::move(*found) : Standing();
    if (found && check) LK_CHECK(check(standing.meanwhile));
    LK_CHECK(check_unlock(t, standing.unlock, user, key));
    LK_TRY(owner, need_active(std::move(standing.user)));
    const auto subject = if_registered(std::move(standing.key));
    if (!subject || subject->user != user)
        return fail(Code::kNotFound, "the key is not registered for this account", "see: key ls");
    const cert::Content& content = certificate.content();
    LK_CHECK(check_content(t, content, owner, *subject));
    if (standing.last_sequence < 0 || standing.epoch < 0) return lost_counters();
    CertificateRow row{.serial = content.serial,
                       .user = user,
                       .key = key,
                       .unlock = unlock,
                       .key_fingerprint = subject->fingerprint,
                       .ca_fingerprint = certificate.ca().fingerprint(),
                       .blob = certificate.blob(),
                       .digest = certificate.digest(),
                       .statement = {},
                       .sequence = take_sequence(t, standing.last_sequence),
                       .epoch = {static_cast<std::uint64_t>(standing.epoch)},
                       .issued_at = t.now,
                       .ends_at = from_seconds(static_cast<std::int64_t>(content.valid_before))};
    const cert::Statement statement{.certificate_digest = row.digest,
                                    .serial = row.serial,
                                    .sequence = row.sequence,
                                    .epoch = row.epoch,
                                    .issued_at = row.issued_at};
    LK_TRY(signed_statement, statement.sign(ledger_key));
    row.statement = std::move(signed_statement);
    LK_CHECK(post(t,
                  "INSERT INTO certificates (sequence, serial, user_id, key_id, unlock_id, key_fingerprint, "
                  "ca_fingerprint, certificate, digest, statement, epoch, issued_at, ends_at, mac) "
                  "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
                  row.sequence, row.serial, user, key, unlock, row.key_fingerprint, row.ca_fingerprint,
                  row.blob, row.digest, row.statement, row.epoch, row.issued_at, row.ends_at,
                  mac_of(t, row, 1)));
    LK_CHECK(append_audit(t, {actor, "certificate.issue", owner.name.str(), "allow",
                              Detail()
                                  .id("serial", row.serial.value)
                                  .id("sequence", row.sequence.value)
                                  .text("key", row.key_fingerprint.str())
                                  .id("unlock", unlock.value)
                                  .list("principals", content.principals)
                                  .time("ends_at", row.ends_at)
                                  .json()}));
    return row;
}

Result<Sequence> last_sequence(Transaction& t) {
    if (t.scratch.sequence) return *t.scratch.sequence;
    LK_TRY(row, query_one(t, "SELECT value FROM counters WHERE name = 'sequence'"));
    if (!row) return lost_counters();
    Columns columns(*row);
    const auto last = columns.id<Sequence>();
    if (!columns.is_good()) return lost_counters();
    return last;
}

Status write_sequence(Transaction& t) {
    return post(t, "UPDATE counters SET value = $1 WHERE name = 'sequence'", *t.scratch.sequence);
}

Result<std::optional<CertificateRow>> find_certificate(Transaction& t, Serial serial) {
    LK_TRY(stored,
           find_row<CertificateRow>(
               t, "SELECT " LK_CERTIFICATE_COLUMNS " FROM certificates c WHERE c.serial = $1", serial));
    return value_of(std::move(stored));
}

Result<std::vector<Serial>> live_serials_of(Transaction& t, const UserName& name, Micros issued_until) {
    LK_TRY(rows, query(t,
                       "SELECT c.serial FROM users u JOIN certificates c ON c.user_id = u.id "
                       "WHERE u.name = $1 AND c.ends_at > $2 AND c.issued_at <= $3",
                       name, t.now, issued_until));
    return serials_in(rows);
}

Result<std::vector<Serial>> live_serials(Transaction& t, Micros issued_until) {
    LK_TRY(rows, query(t, "SELECT serial FROM certificates WHERE ends_at > $1 AND issued_at <= $2", t.now,
                       issued_until));
    return serials_in(rows);
}

Status look_at_certificates(Transaction& t) {
    return look_at_all<CertificateRow>(
        t, "SELECT " LK_CERTIFICATE_COLUMNS
           " FROM certificates c WHERE c.sequence > $1 ORDER BY c.sequence LIMIT $2");
}

} // namespace latchkey::ledger
