// SPDX-License-Identifier: Apache-2.0
#pragma once
// The broker's own keys in state_dir: identity (SSH host key and TLS identity in one), ledger key, data key.
// Read at start, made by init; each file 0600. A missing one is kConfig with the line to run; nothing is made
// anew by serve.

#include "broker/daemon/config.h"
#include "core/base/secret_bytes.h"
#include "core/keys/private_key.h"

namespace latchkey::daemon {

struct BrokerKeys {
    keys::PrivateKey identity;
    keys::PrivateKey ledger;
    SecretBytes data_key; // 32 bytes
};

Result<BrokerKeys> read_keys(const Config& config);
// Makes what is missing and leaves what is there.
Status make_keys(const Config& config);
// The file signer's CA key in the signer's own folder; nothing for other signer plugins.
Status make_ca_key(const Config& config);

} // namespace latchkey::daemon
