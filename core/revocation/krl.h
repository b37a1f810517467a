// SPDX-License-Identifier: Apache-2.0
#pragma once
// OpenSSH KRL export (PROTOCOL.krl) of revoked serials and of keys by SHA-256: lists and ranges only,
// never the bitmap section, which stock ssh-keygen can write and no sshd can read. The broker loads each with
// ssh-keygen -Q before it gives it out.

#include <cstdint>
#include <string>
#include <vector>

#include "core/base/bytes.h"
#include "core/base/clock.h"
#include "core/base/names.h"
#include "core/keys/public_key.h"

namespace latchkey::revocation {

struct KrlContent {
    std::uint64_t version = 0; // the epoch
    Micros made_at;
    std::vector<keys::PublicKey> cas;
    std::vector<Serial> serials; // any order
    std::vector<Fingerprint> keys;
    std::string comment;
};

Bytes encode_krl(const KrlContent& content);

} // namespace latchkey::revocation
