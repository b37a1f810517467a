// SPDX-License-Identifier: Apache-2.0
#include "broker/hub/admission.h"

#include <poll.h>

#include <algorithm>
#include <cmath>

namespace latchkey::hub {
namespace {

constexpr std::size_t kPatience = 5; // seconds; an agent gives up after 10
constexpr std::size_t kLeastBacklog = 128;
constexpr std::size_t kMostBacklog = 4096;

} // namespace

Micros TokenBucket::take(Micros now) {
    const double seconds = static_cast<double>((now - filled_at_.value_or(now)).value) / 1e6;
    tokens_ = std::min(at_once_, tokens_ + seconds * per_second_);
    filled_at_ = now;
    if (tokens_ >= 1) {
        tokens_ -= 1;
        return Micros{0};
    }
    return Micros{std::max<std::int64_t>(1, std::llround((1 - tokens_) / per_second_ * 1e6))};
}

int backlog_for(std::size_t handshakes_per_second) {
    return static_cast<int>(std::clamp(handshakes_per_second * kPatience, kLeastBacklog, kMostBacklog));
}

bool has_left(int socket) {
    pollfd entry{socket, POLLRDHUP, 0}; // whatever it has sent before that
    return ::poll(&entry, 1, 0) == 1 && (entry.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

} // namespace latchkey::hub
