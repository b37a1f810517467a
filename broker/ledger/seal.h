// SPDX-License-Identifier: Apache-2.0
#pragma once
// What keeps a stolen or altered database from opening anything. From the 32-byte data key come two keys
// (HKDF-SHA-256): one seals secrets (AES-256-GCM), one makes the MACs of rows (HMAC-SHA-256). Both bind what
// they cover to table, id, version and content, so that nothing can be moved to another row. An older version
// of a whole row, put back, still fits: the audit chain shows that. Immutable; any thread.

#include <array>
#include <cstdint>
#include <memory>
#include <string_view>

#include "core/base/bytes.h"
#include "core/base/result.h"
#include "core/base/secret_bytes.h"

namespace latchkey::ledger {

struct RowName {
    std::string_view table;
    std::uint64_t id = 0; // 0 where the row's name is text: then that is in the content
    std::uint64_t version = 0;
};

class Sealer {
public:
    static constexpr std::size_t kDataKeySize = 32;
    using Mac = std::array<std::uint8_t, 32>;

    // kConfig where the data key is not 32 bytes.
    static Result<Sealer> make(const SecretBytes& data_key);
    Sealer(Sealer&&) noexcept;
    ~Sealer();

    Mac mac(const RowName& row, ByteView content) const;
    bool fits(const RowName& row, ByteView content, ByteView mac) const; // constant time

    // content: the row's other columns, which are bound but not hidden.
    Result<Bytes> seal(const RowName& row, ByteView content, ByteView secret) const;
    // kTampered where any of it was changed.
    Result<SecretBytes> open(const RowName& row, ByteView content, ByteView sealed) const;

private:
    struct State;
    explicit Sealer(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

} // namespace latchkey::ledger
