// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/migrations.h"

#include <optional>
#include <string>

#include "broker/ledger/contradictions.h"

namespace latchkey::ledger {
namespace {

using plugin_host::Connection;

struct Token {
    std::string_view token;
    std::string_view sqlite;
    std::string_view postgres;
};
constexpr Token kTokens[] = {
    {"@ID@", "INTEGER PRIMARY KEY", "BIGINT PRIMARY KEY"},
    {"@BLOB@", "BLOB", "BYTEA"},
};

Result<std::string> in_dialect(std::string_view sql, std::string_view dialect) {
    if (dialect != "sqlite" && dialect != "postgres") {
        return fail(Code::kUnsupported, "the store speaks an SQL dialect that the ledger does not know",
                    "use the sqlite or the postgres store");
    }
    std::string script(sql);
    for (const Token& token : kTokens) {
        const std::string_view word = dialect == "sqlite" ? token.sqlite : token.postgres;
        for (auto at = script.find(token.token); at != std::string::npos; at = script.find(token.token, at)) {
            script.replace(at, token.token.size(), word);
        }
    }
    return script;
}

Result<std::int64_t> version_in(const plugin_host::Rows& rows) {
    if (rows.rows.size() != 1 || rows.rows[0].size() != 1) {
        return fail(Code::kTampered, "the database has no schema version", "restore the last backup");
    }
    const auto* version = std::get_if<std::int64_t>(&rows.rows[0][0]);
    if (version == nullptr) return fail(Code::kTampered, "the database's schema version is no number");
    return *version;
}

Failure too_new(std::int64_t version) {
    return fail(Code::kUnsupported,
                "the database has schema " + std::to_string(version) + ", this program knows " +
                    std::to_string(migrations().size()),
                "install the Latchkey that made it, or a newer one");
}

Status make_version_table(Connection& connection) {
    LK_CHECK(connection.begin(true));
    Status made = connection.run_script(
        "CREATE TABLE IF NOT EXISTS schema_version (id BIGINT PRIMARY KEY, version BIGINT NOT NULL);"
        "INSERT INTO schema_version (id, version) VALUES (1, 0) ON CONFLICT (id) DO NOTHING;");
    if (made) return connection.commit();
    LK_CHECK(connection.rollback());
    return made;
}

Status apply_all(Connection& connection, std::string_view dialect) {
    // The lock: a second program waits here until the first has committed.
    LK_TRY(rows,
           connection.run("UPDATE schema_version SET version = version WHERE id = 1 RETURNING version", {}));
    LK_TRY(version, version_in(rows));
    if (version > static_cast<std::int64_t>(migrations().size())) return too_new(version);
    for (const Migration& migration : migrations()) {
        if (migration.number <= version) continue;
        LK_TRY(script, in_dialect(migration.sql, dialect));
        LK_CHECK(connection.run_script(script));
        const plugin_host::Value parameters[] = {migration.number};
        LK_TRY(done, connection.run("UPDATE schema_version SET version = $1 WHERE id = 1", parameters));
    }
    return {};
}

} // namespace

Status apply_migrations(Connection& connection, std::string_view dialect) {
    LK_CHECK(make_version_table(connection));
    LK_CHECK(connection.begin(true));
    Status applied = apply_all(connection, dialect);
    if (applied) return connection.commit();
    LK_CHECK(connection.rollback());
    return applied;
}

Result<bool> is_used(Connection& connection) {
    const auto begun = connection.run("SELECT 1 FROM schema_version WHERE version > 0", {});
    if (!begun && begun.error().code != Code::kInternal) return fail(begun.error());
    if (!begun || begun->rows.empty()) return false; // no such table, or no table besides
    const plugin_host::Value parameters[] = {std::string(kDataKeySetting)};
    LK_TRY(mark, connection.run("SELECT 1 FROM settings WHERE name = $1", parameters));
    return !mark.rows.empty();
}

Status check_schema(Connection& connection) {
    const auto wanted = static_cast<std::int64_t>(migrations().size());
    const auto rows = connection.run("SELECT version FROM schema_version WHERE id = 1", {});
    if (!rows && rows.error().code != Code::kInternal) return fail(rows.error());
    if (!rows) { // no such table: never initialised
        return fail(Code::kConfig, "the database holds no ledger yet", "run: latchkeyd init");
    }
    LK_TRY(version, version_in(*rows));
    if (version > wanted) return too_new(version);
    if (version < wanted) {
        return fail(Code::kConfig,
                    "the database has schema " + std::to_string(version) + ", this program needs " +
                        std::to_string(wanted),
                    "make a backup, then run: latchkeyd migrate");
    }
    return {};
}

} // namespace latchkey::ledger
