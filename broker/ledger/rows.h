// SPDX-License-Identifier: Apache-2.0
#pragma once
// Between rows of the store and values of the model. Table<T> says for each kind of row its table, its
// columns in order (id, version, content …, mac) and its content's encoding, which the MAC covers;
// take_row() gives the value only where it is well formed and its MAC fits, and reports it otherwise.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "broker/ledger/ledger.h"
#include "broker/ledger/model.h"
#include "broker/ledger/query.h"
#include "broker/ledger/seal.h"
#include "broker/ledger/tamper_log.h"
#include "core/wire/writer.h"

namespace latchkey::ledger {

// Takes the columns of one row in order. A wrong type, a number out of range or a text that does not parse
// makes it bad; the values are then defaults.
class Columns {
public:
    explicit Columns(const Row& row) : row_(row) {}

    std::int64_t integer();
    std::uint64_t number(); // not negative
    std::uint32_t number32();
    bool boolean();
    Micros micros() { return {integer()}; }
    std::string text();
    Bytes bytes();
    template <class N>
    N name() { // may be empty: "none"
        const std::string raw = text();
        if (raw.empty()) return {};
        auto parsed = N::parse(raw);
        if (!parsed) is_good_ = false;
        return parsed ? *std::move(parsed) : N{};
    }
    template <class N>
    N id() {
        return {number()};
    }
    template <class E>
    E one_of(E last) { // enums begin at 1
        const std::uint64_t raw = number();
        if (raw >= 1 && raw <= static_cast<std::uint64_t>(last)) return static_cast<E>(raw);
        is_good_ = false;
        return last;
    }
    bool is_null() const { // the next one: an outer join that found nothing
        return at_ < row_.size() && std::holds_alternative<plugin_host::Null>(row_[at_]);
    }
    void spoil() { is_good_ = false; }
    bool is_good() const { return is_good_; }

private:
    const Value* next();

    const Row& row_;
    std::size_t at_ = 0;
    bool is_good_ = true;
};

template <class T>
struct Stored {
    T value;
    std::uint64_t version = 0;
};

template <class T>
struct Table; // kName; id(value); read(columns, value); encode(writer, value)

template <class T>
Sealer::Mac mac_of(const Transaction& t, const T& value, std::uint64_t version) {
    wire::Writer writer;
    Table<T>::encode(writer, value);
    return t.sealer.mac({Table<T>::kName, Table<T>::id(value), version}, writer.bytes());
}

// id, version, content, mac from the row. Nothing, and a report, where they do not fit each other.
template <class T>
std::optional<Stored<T>> take_row(Transaction& t, Columns& columns) {
    Stored<T> stored;
    const std::uint64_t id = columns.number();
    stored.version = columns.number();
    Table<T>::read(columns, id, stored.value);
    const Bytes mac = columns.bytes();
    if (columns.is_good()) {
        wire::Writer writer;
        Table<T>::encode(writer, stored.value);
        if (t.sealer.fits({Table<T>::kName, id, stored.version}, writer.bytes(), mac)) return stored;
    }
    t.tampered.note(Table<T>::kName, id);
    return std::nullopt;
}

template <class T>
std::optional<Stored<T>> take_row(Transaction& t, const Row& row) {
    Columns columns(row);
    return take_row<T>(t, columns);
}

// The row that the query finds, if there is one and it fits.
template <class T, class... Parameters>
Result<std::optional<Stored<T>>> find_row(Transaction& t, std::string_view sql,
                                          const Parameters&... parameters) {
    LK_TRY(row, query_one(t, sql, parameters...));
    if (!row) return std::optional<Stored<T>>();
    return take_row<T>(t, *row);
}

// For contradictions.cc. The query "… WHERE id > $1 ORDER BY id LIMIT $2" over a whole table: every row is
// read, so that one that does not fit is reported.
template <class T>
Status look_at_all(Transaction& t, std::string_view sql) {
    constexpr std::int64_t page_size = 1000;
    std::int64_t after = INT64_MIN;
    for (;;) {
        LK_TRY(page, query(t, sql, after, page_size));
        for (const Row& row : page.rows) take_row<T>(t, row);
        if (page.rows.size() < static_cast<std::size_t>(page_size)) return {};
        after = Columns(page.rows.back()).integer();
    }
}

// All rows that fit.
template <class T, class... Parameters>
Result<std::vector<T>> find_rows(Transaction& t, std::string_view sql, const Parameters&... parameters) {
    LK_TRY(rows, query(t, sql, parameters...));
    std::vector<T> found;
    for (const Row& row : rows.rows) {
        if (auto stored = take_row<T>(t, row)) found.push_back(std::move(stored->value));
    }
    return found;
}

} // namespace latchkey::ledger
