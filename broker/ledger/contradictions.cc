// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/contradictions.h"

#include <map>

#include "broker/ledger/audit.h"
#include "broker/ledger/revocation_rows.h"
#include "broker/ledger/tables.h"

namespace latchkey::ledger {
namespace {

Status look_at_members(Transaction& t) {
    LK_TRY(rows, query(t, "SELECT " LK_MEMBER_COLUMNS " FROM members m"));
    for (const Row& row : rows.rows) take_row<Member>(t, row);
    return {};
}

Status look_at_settings(Transaction& t) {
    LK_TRY(rows, query(t, "SELECT name FROM settings"));
    for (const Row& row : rows.rows) {
        const auto setting = get_setting(t, Columns(row).text());
        if (!setting && setting.error().code != Code::kTampered) return fail(setting.error());
    }
    return {};
}

Status look_at_rows(Transaction& t) {
    LK_CHECK(look_at_settings(t));
    LK_CHECK(look_at_all<User>(
        t, "SELECT " LK_USER_COLUMNS " FROM users u WHERE u.id > $1 ORDER BY u.id LIMIT $2"));
    LK_CHECK(look_at_all<KeyRow>(
        t, "SELECT " LK_KEY_COLUMNS " FROM keys k WHERE k.id > $1 ORDER BY k.id LIMIT $2"));
    LK_CHECK(look_at_factors(t));
    LK_CHECK(look_at_invites(t));
    LK_CHECK(look_at_all<UnlockRow>(
        t, "SELECT " LK_UNLOCK_COLUMNS " FROM unlocks n WHERE n.id > $1 ORDER BY n.id LIMIT $2"));
    LK_CHECK(look_at_all<Group>(
        t, "SELECT " LK_GROUP_COLUMNS " FROM user_groups g WHERE g.id > $1 ORDER BY g.id LIMIT $2"));
    LK_CHECK(look_at_members(t));
    LK_CHECK(look_at_rules(t));
    LK_CHECK(
        look_at_all<Vm>(t, "SELECT " LK_VM_COLUMNS " FROM vms v WHERE v.id > $1 ORDER BY v.id LIMIT $2"));
    LK_CHECK(look_at_join_tokens(t));
    LK_CHECK(look_at_certificates(t));
    LK_TRY(revocations, read_revocations(t, Epoch{0})); // lost epochs too
    return {};
}

std::string line_of(const std::string& table, const std::vector<std::uint64_t>& ids) {
    std::string line = table + ": " + std::to_string(ids.size()) +
                       (ids.size() == 1 ? " row fails its check" : " rows fail their check");
    if (ids.front() != 0) line += ", the first is " + std::to_string(ids.front());
    return line;
}

// A counter behind what it counts would give a number twice.
Status compare_counter(Transaction& t, const char* name, const char* last_sql,
                       std::vector<std::string>& found) {
    LK_TRY(counter, query_one(t, "SELECT value FROM counters WHERE name = $1", name));
    LK_TRY(last, query_one(t, last_sql));
    const std::int64_t counted = counter ? Columns(*counter).integer() : -1;
    const std::int64_t used = last ? Columns(*last).integer() : 0;
    if (counted < used) {
        found.push_back("counters: " + std::string(name) + " is at " + std::to_string(counted) +
                        ", the rows are at " + std::to_string(used));
    }
    return {};
}

} // namespace

Result<std::vector<std::string>> find_contradictions(Transaction& t) {
    TamperLog heard; // told by us, and not to the audit of a ledger that we only look at
    Scratch scratch;
    Transaction looking(t.sql, t.sealer, t.now, scratch, heard);
    LK_CHECK(look_at_rows(looking));
    std::map<std::string, std::vector<std::uint64_t>> bad;
    for (const TamperLog::Row& row : heard.take_untold()) bad[row.table].push_back(row.id);
    std::vector<std::string> found;
    found.reserve(bad.size());
    for (const auto& [table, ids] : bad) found.push_back(line_of(table, ids));
    LK_CHECK(compare_counter(looking, "epoch", "SELECT COALESCE(MAX(epoch), 0) FROM revocations", found));
    LK_CHECK(
        compare_counter(looking, "sequence", "SELECT COALESCE(MAX(sequence), 0) FROM certificates", found));
    const auto rows = verify_audit(looking);
    if (!rows && rows.error().code != Code::kTampered) return fail(rows.error());
    if (!rows) found.push_back(rows.error().message);
    return found;
}

Status need_data_key(Transaction& t) {
    LK_TRY(row, query_one(t, "SELECT value FROM settings WHERE name = $1", kDataKeySetting));
    if (!row) return fail(Code::kNotFound, "the database holds no ledger");
    TamperLog unheard; // a wrong data key is one error, not a tampered row
    Transaction asking(t.sql, t.sealer, t.now, t.scratch, unheard);
    if (get_setting(asking, kDataKeySetting)) return {};
    return fail(Code::kConfig, "the data key does not fit this database",
                "point data_key at the key that this database was made with");
}

} // namespace latchkey::ledger
