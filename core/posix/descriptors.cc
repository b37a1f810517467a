// SPDX-License-Identifier: Apache-2.0
#include "core/posix/descriptors.h"

#include <sys/resource.h>

namespace latchkey::posix {
namespace {

constexpr std::size_t kNeverLess = 64; // where nothing is known

} // namespace

std::size_t raise_descriptor_limit() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return kNeverLess;
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
    return ::getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : kNeverLess;
}

} // namespace latchkey::posix
