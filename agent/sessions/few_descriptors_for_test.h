// SPDX-License-Identifier: Apache-2.0
#pragma once
// For tests: while it lives, this process can open so many descriptors more and not one beyond. What the test
// needs open is opened before; one thread.

#include <sys/resource.h>
#include <unistd.h>

#include <cstdlib>
#include <vector>

namespace latchkey::agent {

class FewDescriptors {
public:
    explicit FewDescriptors(std::size_t free) {
        if (::getrlimit(RLIMIT_NOFILE, &before_) != 0) std::abort();
        rlimit low = before_;
        low.rlim_cur = 256;
        if (::setrlimit(RLIMIT_NOFILE, &low) != 0) std::abort();
        for (int fd = ::dup(STDIN_FILENO); fd >= 0; fd = ::dup(STDIN_FILENO)) taken_.push_back(fd);
        if (taken_.size() < free) std::abort();
        for (; free > 0; --free) {
            ::close(taken_.back());
            taken_.pop_back();
        }
    }
    ~FewDescriptors() {
        for (const int fd : taken_) ::close(fd);
        ::setrlimit(RLIMIT_NOFILE, &before_);
    }
    FewDescriptors(const FewDescriptors&) = delete;
    FewDescriptors& operator=(const FewDescriptors&) = delete;

private:
    rlimit before_{};
    std::vector<int> taken_;
};

} // namespace latchkey::agent
