// SPDX-License-Identifier: Apache-2.0
#pragma once
// Published lists of weak keys, as Debian's openssh-blacklist packages lay them out: one file a type and
// length
// (/usr/share/ssh/blacklist.RSA-2048, /etc/ssh/blacklist.RSA-4096), comment lines with '#', then sorted lines
// of 20 hex digits: the last 80 bits of the key's MD5 fingerprint. Core opens no file: the caller reads it
// and hands over its text. Nothing is embedded, and Debian 12 no longer ships the packages: without a list
// there is no check.

#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "core/keys/public_key.h"

namespace latchkey::keys {

// "RSA-2048": the ending of the file that would name this key.
std::string weak_list_name(const PublicKey& key);

class WeakKeyLookup {
public:
    virtual ~WeakKeyLookup() = default;
    // tail: the last 20 hex digits of the MD5 fingerprint. Any thread.
    virtual bool contains(std::string_view list_name, std::string_view tail) const = 0;
};

// Lists in memory. add() takes a file's whole text; kMalformed names the line. Limit 16 MiB a list.
class WeakKeyLists : public WeakKeyLookup {
public:
    Status add(std::string_view list_name, std::string_view text);
    bool contains(std::string_view list_name, std::string_view tail) const override;

private:
    struct List {
        std::string name;
        std::vector<std::string> tails; // sorted
    };
    std::vector<List> lists_;
};

} // namespace latchkey::keys
