// SPDX-License-Identifier: Apache-2.0
#pragma once
// Strong types for what must not be swapped: user name, login, VM name, group name, fingerprint, and the
// numbers serial, epoch, sequence, row id. Names are parsed once, at the edge; a value of such a type is well
// formed. kMalformed says what a name may hold.

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "core/base/result.h"

namespace latchkey {

template <class Tag>
class Name {
public:
    Name() = default; // empty: "none"; parse() never returns it
    static Result<Name> parse(std::string_view text) {
        LK_CHECK(Tag::check(text));
        Name name;
        name.text_ = std::string(text);
        return name;
    }

    const std::string& str() const { return text_; }
    bool empty() const { return text_.empty(); }
    auto operator<=>(const Name&) const = default;

private:
    std::string text_;
};

struct UserNameTag { // a person at the broker: [a-z0-9][a-z0-9._-]*, 32 at most
    static Status check(std::string_view text);
};
struct LoginTag { // a Unix account on a VM: printable, no space, slash, comma, quote or colon; 32 at most
    static Status check(std::string_view text);
};
struct VmNameTag { // a host name: [a-z0-9][a-z0-9.-]*, 64 at most
    static Status check(std::string_view text);
};
struct GroupNameTag {
    static Status check(std::string_view text);
};
struct FingerprintTag { // "SHA256:" and 43 characters of unpadded base64, as ssh-keygen -l prints it
    static Status check(std::string_view text);
};

using UserName = Name<UserNameTag>;
using Login = Name<LoginTag>;
using VmName = Name<VmNameTag>;
using GroupName = Name<GroupNameTag>;
using Fingerprint = Name<FingerprintTag>;

template <class Tag>
struct Number {
    std::uint64_t value = 0;
    auto operator<=>(const Number&) const = default;
};

using Serial = Number<struct SerialTag>;     // of a certificate; 63 random bits
using Epoch = Number<struct EpochTag>;       // revocations: gap-free, commit order
using Sequence = Number<struct SequenceTag>; // ledger: each issued certificate has one
using RowId = Number<struct RowIdTag>;       // 63 random bits, made by the broker
using VmId = Number<struct VmIdTag>;

} // namespace latchkey
