// SPDX-License-Identifier: Apache-2.0
#include "broker/desk/desk_for_tests.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <stdexcept>
#include <utility>

#include "broker/ledger/revocations.h"
#include "broker/ledger/vms.h"
#include "broker/unlock/enrolment.h"

namespace latchkey::desk {
namespace {

constexpr std::int64_t kStep = 30;

Bytes from_base32(std::string_view text) {
    constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    Bytes bytes;
    std::uint32_t held = 0;
    int bits = 0;
    for (const char c : text) {
        const std::size_t digit = kAlphabet.find(c);
        if (digit == std::string_view::npos) throw std::runtime_error("no base32: " + std::string(text));
        held = held << 5 | static_cast<std::uint32_t>(digit);
        bits += 5;
        if (bits >= 8) {
            bits -= 8;
            bytes.push_back(static_cast<std::uint8_t>(held >> bits));
        }
    }
    return bytes;
}

} // namespace

std::string totp_code(std::string_view base32_secret, Micros at) {
    const Bytes key = from_base32(base32_secret);
    std::uint8_t step[8];
    const auto count = static_cast<std::uint64_t>(at.seconds() / kStep);
    for (std::size_t i = 0; i < 8; ++i) step[i] = static_cast<std::uint8_t>(count >> (8 * (7 - i)));
    std::uint8_t mac[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    HMAC(EVP_sha1(), key.data(), static_cast<int>(key.size()), step, sizeof step, mac, &size);
    const std::size_t offset = mac[size - 1] & 0x0f;
    std::uint32_t number = 0;
    for (std::size_t i = 0; i < 4; ++i) number = number << 8 | mac[offset + i];
    number &= 0x7fffffff;
    std::string digits = std::to_string(number % 1'000'000);
    return std::string(6 - digits.size(), '0') + digits;
}

std::string secret_in(std::string_view shown) {
    constexpr std::string_view kMark = "secret=";
    const std::size_t at = shown.find(kMark);
    if (at == std::string_view::npos) throw std::runtime_error("no secret in: " + std::string(shown));
    const std::string_view rest = shown.substr(at + kMark.size());
    return std::string(rest.substr(0, rest.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")));
}

Result<Bytes> MemorySigner::sign(ByteView to_be_signed) {
    if (is_gone) return fail(Code::kUnavailable, "the signer does not answer", "see: latchkeyd check");
    return ledger::ca_key().sign(to_be_signed);
}

Result<std::vector<keys::PublicKey>> MemorySigner::public_keys() {
    if (is_gone) return fail(Code::kUnavailable, "the signer does not answer", "see: latchkeyd check");
    return std::vector<keys::PublicKey>{ledger::ca_key().public_key()};
}

Result<hub::ReceiptCount> FakeFleet::receipts(Epoch epoch) {
    LK_TRY(vms, ledger_.read([](ledger::Transaction& t) { return ledger::list_vms(t); }));
    hub::ReceiptCount count{.epoch = epoch, .drop_at = clock_.now() + from_seconds(240), .vms = {}};
    for (const ledger::Vm& vm : vms) {
        hub::VmAnswer answer;
        if (const auto found = answers.find(vm.name.str()); found != answers.end()) answer = found->second;
        answer.id = vm.id;
        answer.name = vm.name;
        answer.last_seen = clock_.now() - from_seconds(720);
        answer.grants_end = count.drop_at;
        count.vms.push_back(std::move(answer));
    }
    look(count);
    return count;
}

void FakeFleet::look(hub::ReceiptCount& count) const {
    for (hub::VmAnswer& vm : count.vms) {
        if (answers.contains(vm.name.str())) continue;
        const bool was_there = vm.answer == hub::Answer::kWaiting;
        vm.answer = !is_connected(vm.id) ? hub::Answer::kUnreachable
                    : is_silent          ? hub::Answer::kWaiting
                                         : hub::Answer::kConfirmed;
        if (vm.answer == hub::Answer::kConfirmed) vm.answered_at = clock_.now();
        if (was_there && vm.answer == hub::Answer::kUnreachable) vm.was_lost = true;
    }
}

bool FakeFleet::wait_receipts(Epoch, Micros deadline_monotonic) {
    if (loses_all) connected_.clear();
    if (!is_silent || connected_.empty()) return true;
    // The hub waits until the deadline; here time passes at once.
    auto& clock = const_cast<ledger::MovableClock&>(dynamic_cast<const ledger::MovableClock&>(clock_));
    clock.advance(deadline_monotonic - clock_.monotonic());
    return false;
}

Result<protocol::SessionOutcome> FakeFleet::end_session(VmId vm, std::uint64_t session, std::string_view,
                                                        Micros) {
    if (!is_connected(vm)) return fail(Code::kUnavailable, "the VM is not connected", "try again later");
    ended.push_back(session);
    return outcome;
}

Micros FakeFleet::last_heard(VmId) const {
    return clock_.now() - from_seconds(720);
}

bool FakeFleet::is_connected(VmId vm) const {
    return connected_.count(vm) > 0;
}

void FakeFleet::prefetch(const ledger::User&, const ledger::Key&, const ledger::Unlock&) {
    ++prefetches;
}

void CapturedConsole::pass_time() {
    if (const auto happens = std::exchange(meanwhile, nullptr)) happens();
}

Result<SecretBytes> CapturedConsole::read_line(Echo) {
    pass_time();
    if (lines.empty()) return fail(Code::kUnavailable, "end of input");
    const std::string line = lines.front();
    lines.pop_front();
    return SecretBytes(as_bytes(line));
}

Result<std::string> CapturedConsole::read_all(std::size_t) {
    pass_time();
    return all_input;
}

DeskTest::DeskTest() {
    plugin_host::Loader loader(LK_PLUGIN_DIR);
    std::vector<std::unique_ptr<plugin_host::Factor>> plugins;
    plugins.push_back(ledger::take(loader.factor("totp", {})));
    plugins.push_back(ledger::take(loader.factor("recovery", {})));
    unlock::Factors::Options options;
    options.clock = &clock_;
    factors_ = std::make_unique<unlock::Factors>(*ledger_, std::move(plugins), options);
    issuer_ = std::make_unique<issue::Issuer>(
        issue::Issuer::Parts{*ledger_, signer_, ledger::ledger_key(), clock_}, issue::Settings());
    fleet_ = std::make_unique<FakeFleet>(*ledger_, clock_);
    Settings settings;
    settings.door_address = "broker.example.org:2222";
    settings.hub_address = "broker.example.org:7443";
    settings.broker_key = ledger::ledger_key().public_key().fingerprint();
    settings.ledger_keys = {ledger::ledger_key().public_key()};
    desk_ = std::make_unique<Desk>(Context{*ledger_, *factors_, *issuer_, *fleet_, clock_, settings});
}

Member DeskTest::add_member(std::string_view name, ledger::Role role) {
    return add_member(name, ledger::new_public_key(), role);
}

Member DeskTest::add_member(std::string_view name, const keys::PublicKey& key, ledger::Role role) {
    Member member;
    auto pending = ledger::take(unlock::begin(*factors_, ledger::user_name(name), "totp"));
    member.secret = secret_in(pending.enrolment.show_text);
    ledger::take(write([&](ledger::Transaction& t) -> Status {
        LK_TRY(user, ledger::add_user(t, ledger::user_name(name), std::string(name) + "@example.org", role,
                                      "test"));
        LK_TRY(added, ledger::add_key(t, user.id, key, "laptop", "test"));
        LK_TRY(factor, ledger::add_factor(t, user.id, "totp", pending.enrolment.state, "test"));
        (void)factor;
        member.user = std::move(user);
        member.key = std::move(added);
        return {};
    }));
    return member;
}

std::string DeskTest::next_code(const Member& member) {
    clock_.advance(from_seconds(kStep));
    return totp_code(member.secret, clock_.now());
}

void DeskTest::open_unlock(const Member& member, Micros factor_age) {
    ledger::take(write([&](ledger::Transaction& t) {
        return ledger::open_unlock(t, member.user.id, member.key.id, t.now + from_seconds(12 * 3600),
                                   t.now - factor_age, "test");
    }));
}

Caller DeskTest::caller(const Member& member) const {
    return {member.user.name, member.user.id, member.key.id, member.key.fingerprint,
            "192.0.2.7",      clock_.now(),   false};
}

int DeskTest::run(const Member& member, std::string_view line) {
    console_.stdout_text.clear();
    console_.stderr_text.clear();
    return desk_->run(caller(member), line, console_);
}

std::string DeskTest::out(const Member& member, std::string_view line) {
    EXPECT_EQ(run(member, line), 0) << line << ": " << console_.stderr_text;
    return console_.stdout_text;
}

ledger::Vm DeskTest::add_vm(std::string_view name) {
    return ledger::take(write([&](ledger::Transaction& t) -> Result<ledger::Vm> {
        LK_TRY(token, ledger::add_join_token(t, 1, t.now + from_seconds(60), "*", {}, "test"));
        const auto key = ledger::take(keys::PrivateKey::generate(keys::KeyType::kEd25519));
        return ledger::join_vm(t, token.id, token.secret.view(), ledger::take(VmName::parse(name)),
                               key.public_key().raw_ed25519(), {});
    }));
}

} // namespace latchkey::desk
