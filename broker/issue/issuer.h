// SPDX-License-Identifier: Apache-2.0
#pragma once
// The issuer: policy decision -> certificate -> ledger, and the answer to a VM's fetch. Nothing leaves it
// that the ledger has not made durable. Calls block (ledger, signer); any thread. Everything it borrows
// outlives it.

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "broker/issue/deny_log.h"
#include "broker/issue/turns.h"
#include "broker/ledger/ledger.h"
#include "broker/ledger/model.h"
#include "broker/metrics/registry.h"
#include "broker/policy/policy.h"
#include "broker/signer/client.h"
#include "core/base/clock.h"
#include "core/cert/certificate.h"
#include "core/keys/private_key.h"
#include "core/protocol/hub.h"
#include "core/revocation/revocation.h"

namespace latchkey::issue {

struct Settings {
    Micros max_ttl = from_seconds(3600); // of a certificate; a rule's ttl may be shorter
    Micros back_date = from_seconds(60); // valid_after = now - this, for VMs whose clock is behind
    Micros turn = from_seconds(1);       // that a request waits for another one's of the same unlock
};

// The codes by which issuing says "no" rather than "not now".
bool is_refusal(Code code);

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
    // time left (at least 5 min, or half of a short one); else a new one.
    Result<ledger::CertificateRow> current(const ledger::User& user, const ledger::Key& key,
                                           const ledger::Unlock& unlock, const std::string& actor);

    // The answer to a VM. A denial is a Grant with kDeny, its reason, and an audit row (rate-limited per VM);
    // an error means that the broker cannot judge now, and the caller answers with a denial too.
    Result<protocol::Grant> grant_for(const ledger::Vm& vm, const protocol::Fetch& fetch);
    // Grants for all logins of this user on that VM (at most 8), for prefetch; nothing where nothing is
    // allowed.
    Result<std::vector<protocol::Grant>> grants_ahead(const ledger::Vm& vm, const ledger::User& user,
                                                      const ledger::Key& key, const ledger::Unlock& unlock);
    // The same judgement step by step, without issuing or audit, for `explain`: one line a check, the last
    // one being the verdict. kNotFound for an unknown user or VM.
    struct Explanation {
        bool is_allowed = false;
        std::vector<std::string> checks;
    };
    Result<Explanation> explain(const UserName& user, const Login& login, const VmName& vm);

    // The CA keys that VMs are to trust; the first signs. Asked of the signer once, and again once it has
    // refused to sign: they may have been replaced.
    Result<std::vector<keys::PublicKey>> ca_keys();
    // They were replaced. Called on any thread, at once; must return at once.
    void on_new_ca_keys(std::function<void()> listener);

    void describe(metrics::Registry& registry) const;

private:
    // Who asks, as one snapshot of the ledger shows it.
    struct Subject {
        ledger::Key key;
        ledger::User user;
        std::optional<ledger::Unlock> unlock = {};
        std::vector<ledger::Rule> rules = {};
        std::uint64_t policy_count = 0;                         // when the rules were read
        Sequence last = {};                                     // of the unlock's certificates
        std::optional<ledger::CertificateRow> certificate = {}; // the offered one, else the unlock's newest
        bool is_revoked = false;                                // that certificate
    };
    Result<std::optional<Subject>> read_subject(ledger::Transaction& t, const Fingerprint& key,
                                                Serial offered, const VmName& vm);
    Epoch set_epoch();
    bool apply(const std::vector<ledger::RevocationRow>& newer);
    // epoch: the snapshot's.
    Result<bool> is_revoked(ledger::Transaction& t, Epoch epoch, const ledger::User& user,
                            const ledger::CertificateRow& row, const VmName& vm);
    enum class Beside { kOthers, kNone }; // kNone: kConflict where the unlock has got another one meanwhile
    Result<ledger::CertificateRow> make(const Subject& subject, const std::string& actor, Beside beside);
    Result<ledger::CertificateRow> make_one(const Subject& subject, const std::string& actor, Beside beside);
    Result<cert::Certificate> sign(const cert::Content& content);
    Result<cert::Certificate> sign_once(const cert::Content& content);
    // The subject's certificate where it still does; nullopt where a new one is due.
    Result<std::optional<ledger::CertificateRow>> usable(const Subject& subject);
    // known: the subject where it has just been read.
    Result<ledger::CertificateRow> current_at(const VmName& vm, const ledger::Key& key,
                                              const ledger::Unlock& unlock, const std::string& actor,
                                              std::optional<Subject> known);
    Result<protocol::Grant> judge(const ledger::Vm& vm, const protocol::Fetch& fetch);
    void record_denial(const ledger::Vm& vm, const protocol::Fetch& fetch, const protocol::Grant& grant);

    const Parts parts_;
    const Settings settings_;
    struct {
        metrics::Counter issued;
        metrics::Counter refused;
        metrics::Counter failed;
        metrics::Histogram issuing;
        metrics::Counter allowed;
        metrics::Counter denied;
        metrics::Counter not_judged;
        metrics::Histogram judging;
    } counts_;
    DenyLog denies_;
    std::mutex ca_mutex_;
    std::vector<keys::PublicKey> ca_keys_;
    bool must_ask_ca_keys_ = true;
    std::vector<std::function<void()>> ca_listeners_;
    std::mutex set_mutex_; // revocations_: kept level with the ledger by is_revoked()
    revocation::RevocationSet revocations_;
    Turns issuing_; // by unlock
};

} // namespace latchkey::issue
