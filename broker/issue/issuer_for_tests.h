// SPDX-License-Identifier: Apache-2.0
#pragma once
// A real ledger with VMs and rules, and an issuer over it whose CA key lies in memory. For the tests of this
// folder and of the hub.

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "broker/issue/issuer.h"
#include "broker/ledger/ledger_for_tests.h"

namespace latchkey::issue {

class MemorySigner : public signer::CertificateSigner {
public:
    Result<Bytes> sign(ByteView to_be_signed) override;
    Result<std::vector<keys::PublicKey>> public_keys() override;
    const keys::PrivateKey& key() const;

    std::atomic<bool> is_gone = false;
    std::atomic<bool> signs_other_bytes = false;
    std::atomic<bool> has_new_key = false; // and refuses what names the old one, as latchkey-signer does
    std::atomic<int> refusals = 0;         // so many are still to come
    std::atomic<int> signatures = 0;
    std::function<void()> meanwhile; // what happens between the reading of the rules and the commit
};

class IssuerTest : public ledger::LedgerTest {
protected:
    IssuerTest();

    ledger::Vm add_vm(std::string_view name, ByteView raw_key,
                      const std::vector<protocol::KeyValue>& labels = {});
    ledger::Vm add_vm(std::string_view name); // a key that nobody has
    // The person's own group gets this rule.
    ledger::Rule grant(const ledger::Person& person, const std::string& vms,
                       const std::vector<std::string>& logins, std::uint32_t ttl_seconds = 3600,
                       protocol::SudoRule sudo = protocol::SudoRule::kUnsaid);
    protocol::Fetch fetch_of(const ledger::Person& person, const std::string& login) const;
    protocol::Fetch fetch_of(const ledger::Person& person, const std::string& login,
                             const ledger::CertificateRow& offered) const;
    ledger::RevocationRow revoke(std::string_view kind, const std::string& text);
    std::size_t audit_count(const std::string& action);

    // The issuer anew, whose requests wait for each other for that long.
    void restart_issuer(Micros turn);

    MemorySigner signer_;
    std::unique_ptr<Issuer> issuer_;
};

} // namespace latchkey::issue
