// SPDX-License-Identifier: Apache-2.0
#pragma once
// The broker's own keys in state_dir: identity (SSH host key and TLS identity in one), ledger key, data key.
// Read at start, made once by init, all three; each file 0600. One that is missing (kConfig, with what to
// do) was lost: another in its place would be refused by every VM and open no database, so none is made.

#include "broker/daemon/config.h"
#include "broker/ledger/ledger.h"
#include "core/base/secret_bytes.h"
#include "core/keys/private_key.h"

namespace latchkey::daemon {

struct BrokerKeys {
    keys::PrivateKey identity;
    keys::PrivateKey ledger;
    SecretBytes data_key; // 32 bytes
};

Result<BrokerKeys> read_keys(const Config& config);
enum class HeldKeys : std::uint8_t { kNone = 1, kAll };
// kConfig where some of the three are there and others are not.
Result<HeldKeys> held_keys(const Config& config);
// kConfig where the database was first served with another identity or ledger key.
Status check_keys_of_database(ledger::Ledger& ledger, const BrokerKeys& keys);
// All three, where none is there.
Status make_keys(const Config& config);
// The file signer's CA key in the signer's own folder, unless it is there; nothing for other signer plugins.
Status make_ca_key(const Config& config);

} // namespace latchkey::daemon
