// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the agent keeps on disk: its identity key, the broker that it is pinned to, what it trusts, the
// revocations with the last epoch, and the list of managed logins that the PAM module reads while no agent
// runs. The live sessions stand in a folder of this boot, where no user's files can fill the disk. Each file
// is written whole or not at all and carries a checksum: a torn or altered one is kTampered, a missing one
// kNotFound; neither ever reads as empty. Its calls may run on any one thread at a time.

#include <filesystem>
#include <vector>

#include "core/base/names.h"
#include "core/base/result.h"
#include "core/keys/private_key.h"
#include "core/protocol/hub.h"
#include "core/protocol/join_token.h"
#include "core/revocation/revocation.h"

namespace latchkey::agent {

// Whom this VM belongs to and who it is there; written by `join`.
struct BrokerPin {
    protocol::BrokerAddress broker;
    Fingerprint broker_key;
    VmId vm_id;
    VmName vm_name;
    bool operator==(const BrokerPin&) const = default;
};

class StateFolder {
public:
    // `runtime`: where the agent's socket is; without it the sessions are in `folder` too.
    explicit StateFolder(std::filesystem::path folder, std::filesystem::path runtime = {})
        : folder_(std::move(folder)), runtime_(runtime.empty() ? folder_ : std::move(runtime)) {}
    Status make() const; // mode 0755: PAM reads managed-logins in it

    Result<keys::PrivateKey> load_identity() const;
    // A torn one is set aside for a new one, with which the VM is to join again. One that others may read is
    // neither used nor replaced.
    Result<keys::PrivateKey> load_or_make_identity() const;

    Result<BrokerPin> load_pin() const;
    Result<protocol::TrustSet> load_trust() const;
    Status save_trust(const protocol::TrustSet& trust) const;
    // As the agent reads them (revocation_files.h), but a failure where they are not whole.
    Result<revocation::RevocationSet> load_revocations() const;
    Status save_revocations(ByteView encoded_set) const;

    // Where else brokers are, as the last Welcome said.
    Result<std::vector<protocol::BrokerAddress>> load_brokers() const;
    Status save_brokers(const std::vector<protocol::BrokerAddress>& brokers) const;

    // Shared with the PAM module: core/protocol/managed_logins.h.
    Result<std::vector<Login>> load_managed_logins() const;
    Status save_managed_logins(const std::vector<Login>& logins) const;

    // Sessions live no longer than the boot: those of an earlier one are kNotFound. What an older agent left
    // in `folder` is read until the first write.
    Result<Bytes> load_sessions() const;
    Status save_sessions(ByteView encoded) const;
    // That sessions of this boot are not in the list, because it was damaged: for as long as the boot lasts.
    Status note_lost_sessions() const;
    bool has_lost_sessions() const;
    std::filesystem::path lost_sessions_file() const;

    // What this VM has signed about revocations, oldest first. A damaged list can be set aside, to be looked
    // at.
    Result<std::vector<protocol::Receipt>> load_receipts() const;
    Status save_receipts(const std::vector<protocol::Receipt>& receipts) const;
    void set_receipts_aside() const;

    // What is still to be reported to the broker.
    Result<Bytes> load_reports() const;
    Status save_reports(ByteView encoded) const;
    // Read by the PAM module: core/protocol/break_glass.h.
    Status save_break_glass(const std::vector<Login>& logins) const;
    const std::filesystem::path& path() const { return folder_; }

    // The end of a join: the pin is written last and makes it count. Revocations of the same broker stay
    // unless they are damaged; another broker's begin at epoch 0.
    Status begin_with(const BrokerPin& pin) const;

private:
    static Result<Bytes> load_sessions_at(const std::filesystem::path& path);

    std::filesystem::path folder_;
    std::filesystem::path runtime_;
};

} // namespace latchkey::agent
