// SPDX-License-Identifier: Apache-2.0
#include "core/keys/weak_keys.h"

#include <algorithm>

namespace latchkey::keys {
namespace {

constexpr std::size_t kMaxListSize = std::size_t{16} * 1024 * 1024;
constexpr std::size_t kTailSize = 20;

bool is_tail(std::string_view line) {
    return line.size() == kTailSize &&
           std::ranges::all_of(line, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

} // namespace

std::string weak_list_name(const PublicKey& key) {
    switch (key.type()) {
        case KeyType::kRsa:
            return "RSA-" + std::to_string(key.bits());
        case KeyType::kEcdsa256:
        case KeyType::kEcdsa384:
        case KeyType::kEcdsa521:
            return "ECDSA-" + std::to_string(key.bits());
        case KeyType::kEd25519:
            return "ED25519-256";
        case KeyType::kSkEd25519:
            return "ED25519-SK-256";
        case KeyType::kSkEcdsa256:
            return "ECDSA-SK-256";
    }
    return {};
}

Status WeakKeyLists::add(std::string_view list_name, std::string_view text) {
    if (text.size() > kMaxListSize) return fail(Code::kTooLarge, "list of weak keys over 16 MiB");
    List list;
    list.name = std::string(list_name);
    for (std::size_t number = 1; !text.empty(); ++number) {
        const std::string_view line = text.substr(0, text.find('\n'));
        text.remove_prefix(std::min(line.size() + 1, text.size()));
        if (line.empty() || line.front() == '#') continue;
        if (!is_tail(line)) {
            return fail(Code::kMalformed,
                        "list of weak keys: line " + std::to_string(number) + " does not have 20 hex digits");
        }
        list.tails.emplace_back(line);
    }
    std::ranges::sort(list.tails);
    lists_.push_back(std::move(list));
    return {};
}

bool WeakKeyLists::contains(std::string_view list_name, std::string_view tail) const {
    return std::ranges::any_of(lists_, [&](const List& list) {
        return list.name == list_name && std::ranges::binary_search(list.tails, tail);
    });
}

} // namespace latchkey::keys
