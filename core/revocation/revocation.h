// SPDX-License-Identifier: Apache-2.0
#pragma once
// Revocations: what was taken away, in the order of epochs. A selector names what; the set answers whether a
// credential is covered in time that does not grow with the set; a revocation is dropped once the last
// certificate that it covers has ended. Values; a set belongs to one thread.

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/base/bytes.h"
#include "core/base/clock.h"
#include "core/base/names.h"
#include "core/base/result.h"

namespace latchkey::revocation {

inline constexpr std::size_t kMaxEncodedSize = std::size_t{256} * 1024 * 1024; // of a set: 3 million entries

enum class SelectorKind : std::uint8_t { kUser = 1, kKey, kCertificate, kVm, kCa, kBefore };

// The text of each kind: user name; SHA256 fingerprint; decimal serial; VM name; CA fingerprint; decimal
// micros.
struct Selector {
    SelectorKind kind = SelectorKind::kUser;
    std::string text;

    static Result<Selector> parse(std::string_view kind, std::string_view text);
    std::string_view kind_name() const; // "user", "key", "cert", "vm", "ca", "before"
    bool operator==(const Selector&) const = default;
};

struct Revocation {
    Epoch epoch;
    Selector selector;
    Micros made_at; // covers what was issued until then
    Micros drop_at; // when the last certificate that it covers has ended
    bool operator==(const Revocation&) const = default;
};

// What is asked of the set: one credential at one VM.
struct Credential {
    UserName user;
    Fingerprint key;
    Serial serial; // 0: none yet
    Fingerprint ca;
    VmName vm;
    Micros
        issued_at; // when the certificate was issued; a revocation covers what was issued until it was made
};

// As RevocationSet::encode(), of a copy of its entries: for another thread.
Bytes encode_set(Epoch epoch, const std::vector<Revocation>& entries);
// One entry of it; kMalformed where the bytes are not exactly one.
Bytes encode_entry(const Revocation& entry);
Result<Revocation> decode_entry(ByteView bytes);

class RevocationSet {
public:
    Epoch epoch() const { return epoch_; }
    // In epoch order without a gap; kConflict otherwise, and the set is unchanged.
    Status apply(const Revocation& revocation);
    // Everything replaced, as a full resync brings it: the epoch may not go back (kConflict: rollback).
    Status replace(Epoch epoch, std::vector<Revocation> revocations);
    // The revocation that covers it, if any. User, key, CA and VM selectors cover what was issued until
    // made_at.
    std::optional<Revocation> covers(const Credential& credential) const;
    // Those whose drop_at has passed are forgotten; the epoch stays. Returns how many.
    std::size_t drop_ended(Micros now);
    std::size_t size() const;
    std::vector<Revocation> all() const; // in epoch order
    // Those above it, in epoch order; fewer than the epochs between where some have ended.
    std::vector<Revocation> after(Epoch epoch) const;
    std::vector<Revocation> newer_than(Epoch epoch, std::size_t most) const; // the newest, in epoch order

    // One file's worth: magic, version, epoch, entries, SHA-256 over all before. A torn or altered one is
    // kTampered, and the caller denies: there is no fall-back to an empty set.
    Bytes encode() const { return encode_set(epoch_, entries_); }
    static Result<RevocationSet> decode(ByteView bytes);

private:
    struct Reach { // the revocation, and until when issued credentials it covers
        Epoch epoch;
        Micros until;
    };

    void index(const Revocation& revocation);
    void index_all();
    void unindex(const Revocation& revocation);
    std::optional<Revocation> at(Epoch epoch) const;

    Epoch epoch_;
    std::vector<Revocation> entries_; // in epoch order
    std::unordered_map<std::uint64_t, Epoch> by_serial_;
    std::unordered_map<std::string, Reach> by_name_; // kind and text -> the farthest revocation of it
    std::optional<Reach> before_;                    // the farthest "before"
    std::size_t shadowed_ = 0;    // entries that another, farther one keeps out of the index
    Micros next_drop_{INT64_MAX}; // the earliest drop_at
};

} // namespace latchkey::revocation
