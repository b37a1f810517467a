// SPDX-License-Identifier: Apache-2.0
#pragma once
// UniqueHandle<T, Free>: owner of a C library's pointer. UniqueFd: owner of a file descriptor.
// Each library's handles are named in one header beside its adapter; a raw free elsewhere is a fault.

#include <unistd.h>

#include <memory>
#include <utility>

namespace latchkey {

template <auto Free>
struct CallFree {
    template <class T>
    void operator()(T* pointer) const {
        Free(pointer);
    }
};

template <class T, auto Free>
using UniqueHandle = std::unique_ptr<T, CallFree<Free>>;

class UniqueFd {
public:
    UniqueFd() = default;
    explicit UniqueFd(int fd) : fd_(fd) {}
    UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    UniqueFd& operator=(UniqueFd&& other) noexcept {
        if (this != &other) reset(std::exchange(other.fd_, -1));
        return *this;
    }
    UniqueFd(const UniqueFd&) = delete;
    UniqueFd& operator=(const UniqueFd&) = delete;
    ~UniqueFd() { reset(); }

    int get() const { return fd_; }
    explicit operator bool() const { return fd_ >= 0; }
    int release() { return std::exchange(fd_, -1); }
    void reset(int fd = -1) {
        if (fd_ >= 0) ::close(fd_);
        fd_ = fd;
    }

private:
    int fd_ = -1;
};

} // namespace latchkey
