// SPDX-License-Identifier: Apache-2.0
#pragma once
// SecretBytes: owns key material or a code; move-only, wiped at its end, not printable, not comparable but by
// equal_secret (constant time in the content; the length is not secret). One thread at a time.

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "core/base/bytes.h"

namespace latchkey {

// Overwrites memory in a way that the optimiser keeps.
void wipe(std::span<std::uint8_t> memory);

// Constant time for equal lengths.
bool equal_secret(ByteView a, ByteView b);

class SecretBytes {
public:
    SecretBytes() = default;
    explicit SecretBytes(std::size_t size) : bytes_(size) {}
    explicit SecretBytes(ByteView copy_of) : bytes_(copy_of.begin(), copy_of.end()) {}
    // Takes the buffer over without a copy that nobody would wipe.
    static SecretBytes adopt(Bytes bytes) {
        SecretBytes secret;
        secret.bytes_ = std::move(bytes);
        return secret;
    }
    SecretBytes(SecretBytes&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
    SecretBytes& operator=(SecretBytes&& other) noexcept {
        if (this != &other) {
            wipe(bytes_);
            bytes_ = std::exchange(other.bytes_, {});
        }
        return *this;
    }
    SecretBytes(const SecretBytes&) = delete;
    SecretBytes& operator=(const SecretBytes&) = delete;
    ~SecretBytes() { wipe(bytes_); }

    SecretBytes clone() const { return SecretBytes(ByteView(bytes_)); }
    ByteView view() const { return bytes_; }
    std::span<std::uint8_t> writable() { return bytes_; }
    std::size_t size() const { return bytes_.size(); }
    bool empty() const { return bytes_.empty(); }

private:
    std::vector<std::uint8_t> bytes_;
};

} // namespace latchkey
