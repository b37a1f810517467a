// SPDX-License-Identifier: Apache-2.0
// Revocations that an agent has heard of: seed_revocations FOLDER COUNT
// The state folder of an agent that does not run gets COUNT of them, each of one certificate that nobody has,
// with epochs from 1. Its broker's epoch must be COUNT at least before the agent meets it again.

#include <cstdio>
#include <cstdlib>
#include <vector>

#include "agent/trust/revocation_files.h"

namespace latchkey::bench {
namespace {

constexpr std::uint64_t kFirstSerial = 1'000'003; // spread as random serials are
constexpr std::uint64_t kStep = 0x9e3779b97f4a7c15;

Status run(const char* folder, std::uint64_t count) {
    const Micros now = SystemClock().now();
    std::vector<revocation::Revocation> all;
    all.reserve(count);
    for (std::uint64_t epoch = 1; epoch <= count; ++epoch) {
        const std::uint64_t serial = ((kFirstSerial + epoch * kStep) >> 1) | 1;
        LK_TRY(selector, revocation::Selector::parse("cert", std::to_string(serial)));
        all.push_back({Epoch{epoch}, std::move(selector), now, now + from_seconds(7 * 24 * 3600)});
    }
    return agent::RevocationFiles(folder).replace(revocation::encode_set(Epoch{count}, all));
}

} // namespace
} // namespace latchkey::bench

int main(int argc, char** argv) {
    if (argc != 3) {
        std::fprintf(stderr, "usage: seed_revocations FOLDER COUNT\n");
        return 2;
    }
    const auto done = latchkey::bench::run(argv[1], std::strtoull(argv[2], nullptr, 10));
    if (done) return 0;
    std::fprintf(stderr, "seed_revocations: %s\n", done.error().line().c_str());
    return 1;
}
