// SPDX-License-Identifier: Apache-2.0
#pragma once
// The agent's end of the spool that the PAM module writes (core/protocol/break_glass.h): read, and emptied
// once what was read is safe elsewhere. Both block for a moment on the disk; one caller at a time.

#include <filesystem>

#include "core/base/result.h"
#include "core/protocol/break_glass.h"

namespace latchkey::agent {

class BreakGlassSpool {
public:
    explicit BreakGlassSpool(const std::filesystem::path& folder)
        : path_(folder / protocol::kBreakGlassSpoolFile) {}

    bool has_something() const; // asks for the file's size alone
    struct Read {
        protocol::SpooledUses uses;
        std::uintmax_t size = 0;
    };
    Result<Read> read() const;
    // Unless something was added since: then it is read again.
    Status empty(std::uintmax_t size_read) const;

private:
    std::filesystem::path path_;
};

} // namespace latchkey::agent
