// SPDX-License-Identifier: Apache-2.0
#pragma once
// The issuer: policy decision -> certificate -> ledger, and the answer to a VM's fetch. Nothing leaves it
// that the ledger has not made durable. Calls block (ledger, signer); any thread. Everything it borrows
// outlives it.

#include <array>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "broker/issue/deny_log.h"
#include "broker/ledger/ledger.h"
#include "broker/ledger/model.h"
#include "broker/policy/policy.h"
#include "broker/signer/client.h"
#include "core/base/clock.h"
#include "core/keys/private_key.h"
#include "core/protocol/hub.h"
#include "core/revocation/revocation.h"

namespace latchkey::issue {

struct Settings {
    Micros max_ttl = from_seconds(3600); // of a certificate; a rule's ttl may be shorter
    Micros back_date = from_seconds(60); // valid_after = now - this, for VMs whose clock is behind
};

class Issuer {
public:
    struct Parts {
        ledger::Ledger& ledger;
        signer::CertificateSigner& signer;
        const keys::PrivateKey& ledger_key;
        const Clock& clock;
    };
    Issuer(Parts parts, Settings settings) : parts_(parts), settings_(settings) {}

    // A new certificate for this key under this unlock: recorded, durable, then returned. kRefused where
    // policy grants nothing, kExpired where the unlock has ended, kUnavailable without signer or store.
    Result<ledger::CertificateRow> issue(const ledger::User& user, const ledger::Key& key,
                                         const ledger::Unlock& unlock, const std::string& actor);
    // The newest one where it still says what policy says, is not revoked, and has more than a quarter of its
    // time left (5 min at least, or all that the unlock has left); else a new one.
    Result<ledger::CertificateRow> current(const ledger::User& user, const ledger::Key& key,
                                           const ledger::Unlock& unlock, const std::string& actor);

    // The answer to a VM. A denial is a Grant with kDeny, its reason, and an audit row (rate-limited per VM);
    // an error means that the broker cannot judge now, and the caller answers with a denial too.
    Result<protocol::Grant> grant_for(const ledger::Vm& vm, const protocol::Fetch& fetch);
    // Grants for all logins of this user on that VM (at most 8), for prefetch; nothing where nothing is
    // allowed.
    Result<std::vector<protocol::Grant>> grants_ahead(const ledger::Vm& vm, const ledger::User& user,
                                                      const ledger::Key& key, const ledger::Unlock& unlock);
    // The same judgement as grant_for without issuing, audit or a certificate: for `explain`. One line a
    // check, in order, the last one being the verdict.
    struct Explanation {
        bool is_allowed = false;
        std::vector<std::string> checks; // "rule 5: group dev, web-*, as deploy: applies"
    };
    Result<Explanation> explain(const UserName& user, const Login& login, const VmName& vm);

    // The CA keys that VMs are to trust; the first signs. Asked of the signer once, and again after
    // forget_ca_keys().
    Result<std::vector<keys::PublicKey>> ca_keys();
    void forget_ca_keys();
    const keys::PublicKey& ledger_public_key() const { return parts_.ledger_key.public_key(); }

private:
    struct Subject;

    Result<bool> is_revoked(ledger::Transaction& t, const revocation::Credential& credential);
    Result<protocol::Grant> judge(const ledger::Vm& vm, const protocol::Fetch& fetch);
    protocol::Grant allow(const ledger::Vm& vm, const protocol::Fetch& fetch, const Subject& subject,
                          const ledger::CertificateRow& row) const;

    const Parts parts_;
    const Settings settings_;
    DenyLog denies_;
    std::mutex ca_mutex_;
    std::vector<keys::PublicKey> ca_keys_;
    std::mutex set_mutex_; // revocations_: kept level with the ledger by is_revoked()
    revocation::RevocationSet revocations_;
    std::array<std::mutex, 16> issuing_; // by unlock: two fetches at once make one certificate
};

} // namespace latchkey::issue
