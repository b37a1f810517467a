// SPDX-License-Identifier: Apache-2.0
// Runs a fuzz target over the files of the folders named, without libFuzzer: how ctest replays the seeds, and
// every input that once failed, under any compiler. Also each file cut to half and with its middle byte
// flipped.
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "tests/fuzz/fuzz.h"

int main(int argc, char** argv) {
    std::size_t count = 0;
    for (int i = 1; i < argc; ++i) {
        for (const auto& entry : std::filesystem::directory_iterator(argv[i])) {
            std::ifstream file(entry.path(), std::ios::binary);
            const std::vector<char> content{std::istreambuf_iterator<char>(file), {}};
            std::vector<std::uint8_t> input(content.begin(), content.end());
            LLVMFuzzerTestOneInput(input.data(), input.size());
            LLVMFuzzerTestOneInput(input.data(), input.size() / 2);
            if (!input.empty()) input[input.size() / 2] ^= 0x04;
            LLVMFuzzerTestOneInput(input.data(), input.size());
            ++count;
        }
    }
    std::printf("%zu files replayed\n", count);
    return count == 0 ? 1 : 0; // a folder without seeds proves nothing
}
