// SPDX-License-Identifier: Apache-2.0
#pragma once
// What each fuzz target includes: libFuzzer's entry point, and LK_MUST, which ends the run where a property
// does not hold. A target asserts what must be true of whatever parsed, not only that nothing crashed.

#include <cstdint>
#include <cstdio>
#include <cstdlib>

#define LK_MUST(claim)                                                                      \
    do {                                                                                    \
        if (!(claim)) {                                                                     \
            std::fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #claim); \
            std::abort();                                                                   \
        }                                                                                   \
    } while (false)

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
