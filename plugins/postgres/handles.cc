// SPDX-License-Identifier: Apache-2.0
#include "plugins/postgres/handles.h"

namespace latchkey::postgres {
namespace {

struct Row {
    std::string_view state; // an SQLSTATE, or the class that is its beginning
    Code code;
    const char* next;
};

// The first that fits counts: so single states stand before their class.
constexpr Row kRows[] = {
    {"08P01", Code::kUsage, ""}, // another number of parameters than the statement has
    {"08", Code::kUnavailable, "try again"},
    {"0A000", Code::kUnavailable, "try again"}, // a table changed under a prepared statement
    {"22001", Code::kTooLarge, ""},
    {"22021", Code::kMalformed, ""}, // no UTF-8, or a NUL in a text
    {"22P05", Code::kMalformed, ""},
    {"23505", Code::kExists, ""},
    {"23", Code::kRefused, ""},
    {"25006", Code::kUnavailable, "connect to the primary: a standby takes no changes"},
    {"25P03", Code::kUnavailable, "try again"}, // idle in a transaction for too long: ended by the server
    {"26000", Code::kUnavailable, "connect to PostgreSQL itself, not through a pooler of transactions"},
    {"28", Code::kConfig, "check the user and its password in the setting url, and pg_hba.conf"},
    {"3D000", Code::kConfig, "create the database, or correct its name in the setting url"},
    {"40", Code::kConflict, "try again"},
    {"42501", Code::kConfig, "grant the broker's role its rights: see docs/postgres.md"},
    {"53100", Code::kIo, "free space on the disk of the database"},
    {"53", Code::kUnavailable, "raise PostgreSQL's limits: see its log"},
    {"54", Code::kTooLarge, ""},
    {"55P03", Code::kConflict, "try again"}, // lock_timeout
    {"57014", Code::kTimedOut, "try again; see the log of PostgreSQL if it stays"},
    {"57P", Code::kUnavailable, "try again when PostgreSQL is back"},
    {"58", Code::kIo, "see the log of PostgreSQL"},
    {"XX001", Code::kTampered, "restore the last backup"},
    {"XX002", Code::kTampered, "restore the last backup"},
};

struct Words {
    std::string_view part;
    Code code;
    const char* next;
};

constexpr Words kConnectWords[] = {
    {"does not match host name", Code::kUnavailable,
     "name the server in the setting url as its certificate does"},
    {"does not support SSL", Code::kUnavailable, "switch on ssl in its postgresql.conf"},
    {"root certificate file", Code::kConfig, "check the setting sslrootcert"},
    {"private key file", Code::kConfig, "check the setting sslkey and the file's mode"},
    {"certificate file", Code::kConfig, "check the setting sslcert"},
    {"authentication failed", Code::kConfig, "check the user and its password: see docs/postgres.md"},
    {"no password supplied", Code::kConfig, "give the password by a passfile: see docs/postgres.md"},
    {"pg_hba.conf", Code::kConfig, "let the broker's role in by a line of pg_hba.conf"},
    {"does not exist", Code::kConfig, "create it: see docs/postgres.md"},
    {"starting up", Code::kUnavailable, "try again in a moment"},
    {"too many c", Code::kUnavailable, "raise max_connections of PostgreSQL"},
};

constexpr const char* kIsItThere = "check that PostgreSQL runs and listens there";

std::string_view state_of(const PGresult* answer) {
    const char* state = PQresultErrorField(answer, PG_DIAG_SQLSTATE);
    return state == nullptr ? "" : state;
}

const Row* find(std::string_view state) {
    for (const Row& row : kRows) {
        if (state.starts_with(row.state)) return &row;
    }
    return nullptr;
}

std::string named(std::string_view where, std::string_view what) {
    return "database " + std::string(where) + ": " + std::string(what);
}

} // namespace

std::string one_line(const char* text) {
    std::string line;
    bool in_space = false;
    for (const char c : std::string_view(text == nullptr ? "" : text)) {
        const bool is_space = c == '\n' || c == '\r' || c == '\t' || c == ' ';
        if (!is_space) {
            if (in_space && !line.empty()) line += ' ';
            line += c;
        }
        in_space = is_space;
    }
    return line;
}

Failure failure(const PGresult* answer, std::string_view where) {
    const std::string_view state = state_of(answer);
    // The primary message names tables, columns and constraints; values would be in the detail.
    const std::string words = one_line(PQresultErrorField(answer, PG_DIAG_MESSAGE_PRIMARY));
    const std::string what = words + " (SQLSTATE " + std::string(state.empty() ? "unknown" : state) + ")";
    const Row* row = find(state);
    if (row == nullptr) return fail(Code::kInternal, named(where, what));
    return fail(row->code, named(where, what), row->next);
}

Failure lost(std::string_view why, std::string_view where) {
    return fail(Code::kUnavailable, named(where, std::string(why)), kIsItThere);
}

Failure no_connection(std::string_view words, std::string_view tls_reason, std::string_view where) {
    if (!tls_reason.empty()) {
        const bool is_time = tls_reason.find("expired") != tls_reason.npos ||
                             tls_reason.find("not yet valid") != tls_reason.npos;
        return fail(Code::kUnavailable,
                    named(where, "the server's certificate is refused: " + std::string(tls_reason)),
                    is_time ? "renew the server's certificate, and check the clocks"
                            : "set sslrootcert to the CA that signed the server's certificate");
    }
    for (const Words& row : kConnectWords) {
        if (words.find(row.part) != words.npos) return fail(row.code, named(where, words), row.next);
    }
    return fail(Code::kUnavailable, named(where, words), kIsItThere);
}

bool ends_session(const PGresult* answer) {
    const std::string_view state = state_of(answer);
    const char* severity = PQresultErrorField(answer, PG_DIAG_SEVERITY_NONLOCALIZED);
    return state.empty() || severity == nullptr || std::string_view(severity) != "ERROR" ||
           state == "0A000" || state == "26000";
}

} // namespace latchkey::postgres
