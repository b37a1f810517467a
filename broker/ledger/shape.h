// SPDX-License-Identifier: Apache-2.0
#pragma once
// The tables of the ledger and their columns, for what goes through all of them: copies and checks. A test
// compares the list with what the migrations make. Inside the ledger only.

#include <cstdint>
#include <span>
#include <string_view>

namespace latchkey::ledger {

struct TableShape {
    std::string_view name;
    std::span<const std::string_view> columns;
    std::size_t keys; // so many of the first columns are the primary key
};

std::span<const TableShape> tables(); // what another one refers to stands before it

} // namespace latchkey::ledger
