// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/certificates.h"

#include "broker/ledger/audit.h"
#include "broker/ledger/detail.h"
#include "broker/ledger/tables.h"
#include "broker/ledger/users.h"
#include "core/cert/statement.h"

// The row never changes: its version is always 1.
#define LK_CERTIFICATE_COLUMNS                                                                         \
    "c.sequence, 1, c.serial, c.user_id, c.key_id, c.unlock_id, c.key_fingerprint, c.ca_fingerprint, " \
    "c.certificate, c.digest, c.statement, c.epoch, c.issued_at, c.ends_at, c.mac"

namespace latchkey::ledger {

template <>
struct Table<CertificateRow> {
    static constexpr std::string_view kName = "certificates";
    static std::uint64_t id(const CertificateRow& row) { return row.sequence.value; }
    static void read(Columns& columns, std::uint64_t id, CertificateRow& row) {
        row.sequence = {id};
        row.serial = columns.id<Serial>();
        row.user = columns.id<RowId>();
        row.key = columns.id<RowId>();
        row.unlock = columns.id<RowId>();
        row.key_fingerprint = columns.name<Fingerprint>();
        row.ca_fingerprint = columns.name<Fingerprint>();
        row.blob = columns.bytes();
        row.digest = columns.bytes();
        row.statement = columns.bytes();
        row.epoch = columns.id<Epoch>();
        row.issued_at = columns.micros();
        row.ends_at = columns.micros();
    }
    static void encode(wire::Writer& writer, const CertificateRow& row) {
        writer.reserve(row.blob.size() + row.statement.size() + 256);
        writer.u64(row.serial.value);
        writer.u64(row.user.value);
        writer.u64(row.key.value);
        writer.u64(row.unlock.value);
        writer.string(row.key_fingerprint.str());
        writer.string(row.ca_fingerprint.str());
        writer.string(row.blob);
        writer.string(row.digest);
        writer.string(row.statement);
        writer.u64(row.epoch.value);
        writer.u64(static_cast<std::uint64_t>(row.issued_at.value));
        writer.u64(static_cast<std::uint64_t>(row.ends_at.value));
    }
};

namespace {

constexpr std::uint64_t kMostSeconds = INT64_MAX / 1'000'000;

// Locks the unlock's row against a revocation that would end it meanwhile, and counts.
Status check_unlock(Transaction& t, RowId unlock, RowId user, RowId key) {
    LK_TRY(stored,
           find_row<UnlockRow>(t,
                               "UPDATE unlocks AS n SET certificates = certificates + 1 WHERE n.id = $1 "
                               "RETURNING id, version, user_id, key_id, opened_at, ends_at, factor_at, "
                               "ended_at, mac",
                               unlock));
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

struct Place {
    Sequence sequence;
    Epoch epoch;
};

Result<Place> next_place(Transaction& t) {
    LK_TRY(row, query_one(t,
                          "UPDATE counters SET value = value + 1 WHERE name = 'sequence' RETURNING value, "
                          "(SELECT e.value FROM counters e WHERE e.name = 'epoch')"));
    if (row) {
        Columns columns(*row);
        const Place place{columns.id<Sequence>(), columns.id<Epoch>()};
        if (columns.is_good()) return place;
    }
    return fail(Code::kTampered, "the database has lost its counters", "restore the last backup");
}

std::vector<Serial> serials_in(const plugin_host::Rows& rows) {
    std::vector<Serial> serials;
    serials.reserve(rows.rows.size());
    for (const Row& row : rows.rows) serials.push_back(Columns(row).id<Serial>());
    return serials;
}

std::optional<CertificateRow> value_of(std::optional<Stored<CertificateRow>> stored) {
    if (!stored) return std::nullopt;
    return std::move(stored->value);
}

} // namespace

Result<CertificateRow> record_certificate(Transaction& t, const cert::Certificate& certificate, RowId user,
                                          RowId key, RowId unlock, const keys::PrivateKey& ledger_key,
                                          const std::string& actor) {
    if (!t.scratch.is_writing) return fail(Code::kInternal, "a change inside a reading job");
    LK_CHECK(check_unlock(t, unlock, user, key));
    LK_TRY(owner, need_active_user(t, user));
    LK_TRY(subject, find_key_by_id(t, key));
    if (!subject || subject->user != user)
        return fail(Code::kNotFound, "the key is not registered for this account", "see: key ls");
    const cert::Content& content = certificate.content();
    LK_CHECK(check_content(t, content, owner, *subject));
    LK_TRY(place, next_place(t));
    CertificateRow row{.serial = content.serial,
                       .user = user,
                       .key = key,
                       .unlock = unlock,
                       .key_fingerprint = subject->fingerprint,
                       .ca_fingerprint = certificate.ca().fingerprint(),
                       .blob = certificate.blob(),
                       .digest = certificate.digest(),
                       .statement = {},
                       .sequence = place.sequence,
                       .epoch = place.epoch,
                       .issued_at = t.now,
                       .ends_at = from_seconds(static_cast<std::int64_t>(content.valid_before))};
    const cert::Statement statement{.certificate_digest = row.digest,
                                    .serial = row.serial,
                                    .sequence = row.sequence,
                                    .epoch = row.epoch,
                                    .issued_at = row.issued_at};
    LK_TRY(signed_statement, statement.sign(ledger_key));
    row.statement = std::move(signed_statement);
    LK_CHECK(execute(
        t,
        "INSERT INTO certificates (sequence, serial, user_id, key_id, unlock_id, key_fingerprint, "
        "ca_fingerprint, certificate, digest, statement, epoch, issued_at, ends_at, mac) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        row.sequence, row.serial, user, key, unlock, row.key_fingerprint, row.ca_fingerprint, row.blob,
        row.digest, row.statement, row.epoch, row.issued_at, row.ends_at, mac_of(t, row, 1)));
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

Result<std::optional<CertificateRow>> find_certificate(Transaction& t, Serial serial) {
    LK_TRY(stored,
           find_row<CertificateRow>(
               t, "SELECT " LK_CERTIFICATE_COLUMNS " FROM certificates c WHERE c.serial = $1", serial));
    return value_of(std::move(stored));
}

Result<std::optional<CertificateRow>> newest_certificate(Transaction& t, RowId unlock) {
    LK_TRY(rows, query(t,
                       "SELECT " LK_CERTIFICATE_COLUMNS
                       " FROM unlocks n JOIN certificates c ON c.user_id = n.user_id "
                       "WHERE n.id = $1 AND c.unlock_id = $1 AND c.ends_at > $2 ORDER BY c.sequence DESC",
                       unlock, t.now));
    for (const Row& row : rows.rows) {
        if (auto stored = take_row<CertificateRow>(t, row)) return value_of(std::move(stored));
    }
    return std::optional<CertificateRow>();
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
