// SPDX-License-Identifier: Apache-2.0
#pragma once
// The detail of an audit event: one flat JSON object, its fields in the order of the calls. Names are ours
// (docs/audit.md); values may be anybody's and are escaped. Empty texts and lists are left out.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/clock.h"

namespace latchkey::ledger {

class Detail {
public:
    Detail& text(std::string_view name, std::string_view value);
    Detail& number(std::string_view name, std::int64_t value);
    Detail& id(std::string_view name, std::uint64_t value); // as text: JSON's numbers end at 2^53
    Detail& time(std::string_view name, Micros value) { return number(name, value.value); }
    Detail& list(std::string_view name, const std::vector<std::string>& values);
    std::string json() const { return json_ + "}"; }

private:
    void begin(std::string_view name);
    void quote(std::string_view value);

    std::string json_ = "{";
};

} // namespace latchkey::ledger
