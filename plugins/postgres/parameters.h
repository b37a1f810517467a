// SPDX-License-Identifier: Apache-2.0
#pragma once
// Values between the seam and libpq: parameters in binary form with their types, and a row of an answer back.

#include <libpq-fe.h>

#include <array>
#include <span>
#include <string>
#include <vector>

#include "plugins/sdk/store.h"

namespace latchkey::postgres {

// Borrows the values it was set from. Kept for its memory.
class Parameters {
public:
    Status set(std::span<const lk_value> values);

    int count() const { return static_cast<int>(types_.size()); }
    const Oid* types() const { return types_.data(); }
    const char* const* values() const { return values_.data(); }
    const int* lengths() const { return lengths_.data(); }
    const int* formats() const { return formats_.data(); }
    const std::string& signature() const { return signature_; } // one letter a parameter: its type

private:
    std::vector<Oid> types_;
    std::vector<const char*> values_;
    std::vector<int> lengths_;
    std::vector<int> formats_;
    std::vector<std::array<char, 8>> numbers_; // big-endian
    std::string signature_;
};

// Texts and blobs are lent until the answer is cleared.
Status read_row(const PGresult* answer, int row, std::vector<lk_value>& values);
// Rows that the command inserted, updated or deleted.
std::int64_t changed_rows(PGresult* answer);

} // namespace latchkey::postgres
