// SPDX-License-Identifier: Apache-2.0
#include "core/base/error.h"

#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <sstream>

namespace latchkey {
namespace {

std::string documented_rows() {
    std::ifstream file(LK_ERRORS_MD);
    std::string line;
    std::string rows;
    while (std::getline(file, line)) {
        if (line.rfind("| ", 0) == 0 && line.rfind("| code", 0) != 0 && line.rfind("| ---", 0) != 0) {
            rows += line + "\n";
        }
    }
    return rows;
}

TEST(ErrorTable, IsTheOneInTheDocumentation) {
    std::ostringstream table;
    for (const CodeInfo& row : all_codes()) {
        table << "| " << row.name << " | " << row.exit_status << " | " << row.pam << " |\n";
    }
    EXPECT_EQ(table.str(), documented_rows());
}

TEST(ErrorTable, HasEachCodeAndNameOnce) {
    std::set<std::string_view> names;
    std::set<Code> codes;
    for (const CodeInfo& row : all_codes()) {
        EXPECT_TRUE(names.insert(row.name).second) << row.name;
        EXPECT_TRUE(codes.insert(row.code).second) << row.name;
    }
    EXPECT_EQ(codes.size(), static_cast<std::size_t>(Code::kInternal));
}

TEST(ErrorLine, EndsWithWhatToDoNext) {
    EXPECT_EQ((Error{Code::kExpired, "certificate 12 has ended", "run: ssh broker cert"}).line(),
              "certificate 12 has ended; run: ssh broker cert");
    EXPECT_EQ((Error{Code::kExpired, "it has ended", ""}).line(), "it has ended");
}

} // namespace
} // namespace latchkey
