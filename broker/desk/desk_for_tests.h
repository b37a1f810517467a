// SPDX-License-Identifier: Apache-2.0
#pragma once
// A desk over a real ledger, the real totp and recovery plugins, a real issuer with a CA key in memory, and a
// fleet of VMs that answer as a test says. For the tests of this folder and of the door.

#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "broker/desk/desk.h"
#include "broker/ledger/ledger_for_tests.h"

namespace latchkey::desk {

// The code of that authenticator at that time.
std::string totp_code(std::string_view base32_secret, Micros at);
// The secret in what an enrolment shows.
std::string secret_in(std::string_view shown);

class MemorySigner : public signer::CertificateSigner {
public:
    Result<Bytes> sign(ByteView to_be_signed) override;
    Result<std::vector<keys::PublicKey>> public_keys() override;
    std::atomic<bool> is_gone = false;
};

// Says of each VM what the test set; confirms at once what is connected, unless it is silent.
class FakeFleet : public Fleet {
public:
    explicit FakeFleet(ledger::Ledger& ledger, const Clock& clock) : ledger_(ledger), clock_(clock) {}
    Result<hub::ReceiptCount> receipts(Epoch epoch) override;
    void look(hub::ReceiptCount& count) const override;
    bool wait_receipts(Epoch epoch, Micros deadline_monotonic) override;
    Result<protocol::SessionOutcome> end_session(VmId vm, std::uint64_t session, std::string_view reason,
                                                 Micros deadline_monotonic) override;
    bool is_connected(VmId vm) const override;
    Micros last_heard(VmId vm) const override;
    bool has_step_up(VmId vm) const override { return is_connected(vm) && !asks_nothing; }
    void prefetch(const ledger::User& user, const ledger::Key& key, const ledger::Unlock& unlock) override;

    void connect(VmId vm) { connected_.insert(vm); }
    std::atomic<bool> is_silent = false;          // connected VMs do not confirm
    std::map<std::string, hub::VmAnswer> answers; // by name: what else a VM answers
    bool loses_all = false;                       // connected VMs leave while somebody waits for them
    std::atomic<bool> asks_nothing = false;       // agents of before there was a step-up
    std::vector<std::uint64_t> ended;
    Result<protocol::SessionOutcome> outcome = protocol::SessionOutcome::kEnded;
    std::atomic<int> prefetches = 0;

private:
    ledger::Ledger& ledger_;
    const Clock& clock_;
    std::set<VmId> connected_;
};

class CapturedConsole : public Console {
public:
    void out(std::string_view text) override { stdout_text += text; }
    void err(std::string_view text) override { stderr_text += text; }
    bool is_terminal() const override { return has_terminal; }
    unsigned width() const override { return columns; }
    Result<SecretBytes> read_line(Echo echo) override;
    Result<std::string> read_all(std::size_t limit) override;
    bool is_gone() override { return false; }
    bool pause(Micros) override { return true; }

    std::function<void()> meanwhile; // once, while a command waits for its first input
    std::string stdout_text;
    std::string stderr_text;
    std::string all_input;
    std::deque<std::string> lines;
    bool has_terminal = false;
    unsigned columns = 0;

private:
    void pass_time();
};

struct Member {
    ledger::User user;
    ledger::Key key;
    std::string secret; // of their authenticator; empty where none is enrolled
};

class DeskTest : public ledger::LedgerTest {
protected:
    DeskTest();

    Member add_member(std::string_view name, ledger::Role role = ledger::Role::kUser);
    Member add_member(std::string_view name, const keys::PublicKey& key,
                      ledger::Role role = ledger::Role::kUser);
    // Gives a code that was not used: the clock moves on a step for each.
    std::string next_code(const Member& member);
    void open_unlock(const Member& member, Micros factor_age = {});
    Caller caller(const Member& member) const;
    // A command by that member; the console keeps what it said.
    int run(const Member& member, std::string_view line);
    std::string out(const Member& member, std::string_view line); // of one that must succeed
    ledger::Vm add_vm(std::string_view name);

    std::unique_ptr<unlock::Factors> factors_;
    MemorySigner signer_;
    std::unique_ptr<issue::Issuer> issuer_;
    std::unique_ptr<FakeFleet> fleet_;
    std::unique_ptr<Desk> desk_;
    CapturedConsole console_;
};

} // namespace latchkey::desk
