// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/copy.h"

#include <array>
#include <numeric>

#include "broker/ledger/certificates.h"
#include "broker/ledger/chain.h"
#include "broker/ledger/contradictions.h"
#include "broker/ledger/migrations.h"
#include "broker/ledger/query.h"
#include "broker/ledger/revocations.h"
#include "broker/ledger/rows.h"
#include "broker/ledger/shape.h"
#include "core/keys/openssl.h"
#include "core/wire/writer.h"

namespace latchkey::ledger {
namespace {

using plugin_host::Connection;

constexpr std::size_t kCopyPage = 500;       // rows read at once
constexpr std::size_t kMostParameters = 900; // of a statement; SQLite takes 999

std::string joined(std::span<const std::string_view> names) {
    std::string text;
    for (const std::string_view name : names) {
        if (!text.empty()) text += ", ";
        text += name;
    }
    return text;
}

std::string placeholders(std::size_t first, std::size_t count) {
    std::string text = "(";
    for (std::size_t i = 0; i < count; ++i) {
        if (i > 0) text += ", ";
        text += "$" + std::to_string(first + i);
    }
    return text + ")";
}

// The pages of a table in the order of its key, each behind the last row of the one before.
class Pages {
public:
    Pages(Connection& connection, const TableShape& table) : connection_(connection), table_(table) {
        const std::string key = joined(table.columns.first(table.keys));
        const std::string select = "SELECT " + joined(table.columns) + " FROM " + std::string(table.name);
        const std::string order = " ORDER BY " + key + " LIMIT " + std::to_string(kCopyPage);
        first_ = select + order;
        next_ = select + " WHERE (" + key + ") > " + placeholders(1, table.keys) + order;
    }
    // Empty at the end.
    Result<std::vector<Row>> next() {
        if (is_at_end_) return std::vector<Row>();
        LK_TRY(rows, connection_.run(last_key_.empty() ? first_ : next_, last_key_));
        is_at_end_ = rows.rows.size() < kCopyPage;
        for (const Row& row : rows.rows) {
            if (row.size() != table_.columns.size()) return fail(Code::kInternal, "a row of another shape");
        }
        if (!is_at_end_) {
            const Row& last = rows.rows.back();
            last_key_.assign(last.begin(), last.begin() + static_cast<std::ptrdiff_t>(table_.keys));
        }
        return std::move(rows.rows);
    }

private:
    Connection& connection_;
    const TableShape& table_;
    std::string first_;
    std::string next_;
    std::vector<Value> last_key_;
    bool is_at_end_ = false;
};

// How many rows, and the sum of their hashes: the same for the same rows in any order, because stores sort
// texts differently.
class Tally {
public:
    void add(const Row& row) {
        wire::Writer writer;
        for (const Value& value : row) {
            writer.u8(static_cast<std::uint8_t>(value.index()));
            if (const auto* number = std::get_if<std::int64_t>(&value))
                writer.u64(static_cast<std::uint64_t>(*number));
            if (const auto* text = std::get_if<std::string>(&value)) writer.string(*text);
            if (const auto* bytes = std::get_if<Bytes>(&value)) writer.string(*bytes);
        }
        const auto hash = keys::sha256(writer.bytes());
        for (std::size_t i = 0; i < hash.size(); ++i) sum_[i] = static_cast<std::uint8_t>(sum_[i] ^ hash[i]);
        ++rows_;
    }
    std::uint64_t rows() const { return rows_; }
    bool operator==(const Tally&) const = default;

private:
    std::array<std::uint8_t, 32> sum_{};
    std::uint64_t rows_ = 0;
};

Status insert(Connection& to, const TableShape& table, std::span<const Row> rows) {
    const std::size_t width = table.columns.size();
    const std::size_t most = kMostParameters / width;
    const std::string into =
        "INSERT INTO " + std::string(table.name) + " (" + joined(table.columns) + ") VALUES ";
    while (!rows.empty()) {
        // Two texts a table, so that each is prepared once.
        const std::size_t count = rows.size() >= most ? most : 1;
        std::string sql = into;
        std::vector<Value> values;
        values.reserve(count * width);
        for (std::size_t i = 0; i < count; ++i) {
            if (i > 0) sql += ", ";
            sql += placeholders(1 + i * width, width);
            values.insert(values.end(), rows[i].begin(), rows[i].end());
        }
        LK_TRY(done, to.run(sql, values));
        rows = rows.subspan(count);
    }
    return {};
}

Result<Tally> copy_table(Connection& from, Connection& to, const TableShape& table) {
    LK_TRY(made, to.run("DELETE FROM " + std::string(table.name), {})); // what a migration put there
    Tally tally;
    Pages pages(from, table);
    for (;;) {
        LK_TRY(page, pages.next());
        if (page.empty()) return tally;
        LK_CHECK(insert(to, table, page));
        for (const Row& row : page) tally.add(row);
    }
}

Result<Tally> tally_of(Connection& connection, const TableShape& table) {
    Tally tally;
    Pages pages(connection, table);
    for (;;) {
        LK_TRY(page, pages.next());
        if (page.empty()) return tally;
        for (const Row& row : page) tally.add(row);
    }
}

// A migrated store that no ledger was opened on yet.
Status need_empty(Connection& to) {
    for (const TableShape& table : tables()) {
        const std::string what = table.name == "counters" ? " WHERE value <> 0" : " LIMIT 1";
        LK_TRY(rows, to.run("SELECT 1 FROM " + std::string(table.name) + what, {}));
        if (rows.rows.empty()) continue;
        return fail(Code::kExists,
                    "the store is not empty: there is something in its table " + std::string(table.name),
                    "name an empty one, or move this one away first");
    }
    return {};
}

Result<std::vector<Tally>> copy_all(Connection& from, Connection& to) {
    std::vector<Tally> written;
    for (const TableShape& table : tables()) {
        LK_TRY(tally, copy_table(from, to, table));
        written.push_back(tally);
    }
    return written;
}

Status compare_all(Connection& to, const std::vector<Tally>& written, Copied& copied) {
    for (std::size_t i = 0; i < written.size(); ++i) {
        const TableShape& table = tables()[i];
        LK_TRY(read_back, tally_of(to, table));
        if (!(written[i] == read_back)) {
            return fail(Code::kTampered,
                        "the copy of the table " + std::string(table.name) +
                            " is not what was copied: " + std::to_string(written[i].rows()) +
                            " rows written, " + std::to_string(read_back.rows()) + " read back",
                        "nothing was kept; see the log of the target");
        }
        copied.tables.push_back({table.name, read_back.rows()});
    }
    return {};
}

Status describe(Transaction& t, Copied& copied) {
    LK_TRY(epoch, current_epoch(t));
    copied.epoch = epoch;
    LK_TRY(row, query_one(t, "SELECT sequence, made_at FROM audit ORDER BY sequence DESC LIMIT 1"));
    if (!row) return {};
    Columns columns(*row);
    copied.audit_rows = columns.number();
    copied.last_audit_at = columns.micros();
    return {};
}

// Everything between the beginning of the target's transaction and its commit.
Status fill(Connection& from, Transaction& t, const CopyHow& how, Copied& copied) {
    LK_CHECK(need_empty(t.sql)); // again: another one may have filled it meanwhile
    LK_TRY(written, copy_all(from, t.sql));
    // The source is not needed for the rest, which takes longer than PostgreSQL lets a transaction lie idle.
    LK_CHECK(from.rollback());
    LK_CHECK(compare_all(t.sql, written, copied));
    LK_CHECK(describe(t, copied));
    LK_TRY(contradictions, find_contradictions(t));
    if (!contradictions.empty() && how.contradictory == Contradictory::kRefused) {
        return fail(Code::kTampered, "the ledger contradicts itself: " + contradictions.front(),
                    "nothing was kept; compare with a backup, or take an older one");
    }
    copied.contradictions = std::move(contradictions);
    if (how.finish) LK_CHECK(how.finish(t));
    if (t.scratch.sequence) LK_CHECK(write_sequence(t));
    return t.scratch.head ? write_chain_head(t) : Status();
}

Status need_ledger(Connection& from, const Sealer& sealer, const Clock& clock) {
    const Status schema = check_schema(from);
    if (!schema && schema.error().code == Code::kConfig) {
        return fail(Code::kConfig, schema.error().message,
                    "check which store is meant; latchkeyd serve brings an older one up to date");
    }
    LK_CHECK(schema);
    TamperLog unheard;
    Scratch scratch;
    Transaction t(from, sealer, clock.now(), scratch, unheard);
    Status fits = need_data_key(t);
    if (fits || fits.error().code != Code::kNotFound) return fits;
    return fail(Code::kConfig, "there is no ledger to copy", "check the path");
}

} // namespace

std::uint64_t Copied::rows() const {
    return std::accumulate(tables.begin(), tables.end(), std::uint64_t{0},
                           [](std::uint64_t sum, const TableCount& one) { return sum + one.rows; });
}

Result<Copied> copy_ledger(plugin_host::Store& from, plugin_host::Store& to, const CopyHow& how) {
    LK_TRY(sealer, Sealer::make(how.data_key));
    LK_TRY(source, from.connect());
    LK_CHECK(need_ledger(*source, sealer, how.clock));
    LK_TRY(target, to.connect());
    if (!check_schema(*target)) LK_CHECK(Ledger::migrate(to)); // where it is made, rows are all we may change
    LK_CHECK(need_empty(*target));

    LK_CHECK(source->begin(false));
    LK_CHECK(target->begin(true));
    Copied copied;
    TamperLog unheard; // find_contradictions tells
    Scratch scratch;
    scratch.is_writing = true;
    Transaction t(*target, sealer, how.clock.now(), scratch, unheard);
    Status filled = fill(*source, t, how, copied);
    if (filled) filled = target->commit();
    if (filled) return copied;
    const Status rolled_back = target->rollback(); // or the connection's end does it
    return fail(std::move(filled).error());
}

Status need_whole(plugin_host::Store& sqlite, std::uint64_t bytes) {
    LK_TRY(connection, sqlite.connect());
    LK_TRY(pages, connection->run("PRAGMA page_count", {}));
    LK_TRY(size, connection->run("PRAGMA page_size", {}));
    // SQLite itself takes what is missing of the last page for zeros.
    const std::uint64_t due = Columns(pages.rows.at(0)).number() * Columns(size.rows.at(0)).number();
    if (due != bytes) {
        return fail(Code::kTampered,
                    std::to_string(bytes) + " bytes where " + std::to_string(due) + " are due");
    }
    LK_TRY(rows, connection->run("PRAGMA integrity_check(1)", {}));
    if (Columns(rows.rows.at(0)).text() == "ok") return {};
    return fail(Code::kTampered, "its pages do not fit together");
}

} // namespace latchkey::ledger
