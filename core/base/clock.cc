// SPDX-License-Identifier: Apache-2.0
#include "core/base/clock.h"

#include <ctime>

namespace latchkey {
namespace {

Micros read(clockid_t id) {
    timespec t{};
    ::clock_gettime(id, &t);
    return {static_cast<std::int64_t>(t.tv_sec) * 1'000'000 + t.tv_nsec / 1'000};
}

} // namespace

Micros SystemClock::now() const {
    return read(CLOCK_REALTIME);
}

Micros SystemClock::monotonic() const {
    return read(CLOCK_BOOTTIME);
}

} // namespace latchkey
