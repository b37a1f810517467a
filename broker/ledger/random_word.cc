// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/random_word.h"

#include <sys/random.h>

namespace latchkey::ledger {

std::uint64_t random_number() {
    std::uint64_t number = 0;
    while (::getrandom(&number, sizeof number, 0) != static_cast<ssize_t>(sizeof number)) { // a signal
    }
    return number;
}

std::string random_word(std::size_t length) {
    std::string word;
    std::uint64_t bits = 0;
    for (std::size_t i = 0; i < length; ++i) {
        if (i % 12 == 0) bits = random_number(); // 60 bits of it are used
        word += kWordAlphabet[bits & 31];
        bits >>= 5;
    }
    return word;
}

} // namespace latchkey::ledger
