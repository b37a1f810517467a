// SPDX-License-Identifier: Apache-2.0
#include "broker/hub/catch_up.h"

#include <tuple>

#include "broker/ledger/revocations.h"
#include "broker/policy/policy.h"

namespace latchkey::hub {
namespace {

constexpr std::size_t kMaxDelta = 100'000; // beyond it a full set is no dearer
constexpr std::uint64_t kMaxLookUps = 256; // revocations that ended already, read one by one to close gaps
constexpr std::size_t kMessageSize = 256 * 1024;
constexpr std::size_t kEntryOverhead = 48;

protocol::RevocationEntry entry_of(const ledger::RevocationRow& row) {
    const revocation::Revocation& revocation = row.revocation;
    return {.epoch = revocation.epoch,
            .kind = std::string(revocation.selector.kind_name()),
            .text = revocation.selector.text,
            .made_at = revocation.made_at,
            .drop_at = revocation.drop_at};
}

std::vector<protocol::RevocationEntry> entries_of(const std::vector<ledger::RevocationRow>& rows) {
    std::vector<protocol::RevocationEntry> entries;
    entries.reserve(rows.size());
    for (const ledger::RevocationRow& row : rows) entries.push_back(entry_of(row));
    return entries;
}

// An agent takes epochs without a gap, so what has ended since is told too, as long as that is little.
Result<std::optional<std::vector<protocol::RevocationEntry>>> read_delta(
    ledger::Transaction& t, const std::vector<ledger::RevocationRow>& in_force, Epoch from, Epoch to) {
    using Entries = std::optional<std::vector<protocol::RevocationEntry>>;
    const std::uint64_t due = to.value - from.value;
    if (due > kMaxDelta || in_force.size() > due || due - in_force.size() > kMaxLookUps) return Entries();
    std::vector<protocol::RevocationEntry> entries;
    entries.reserve(due);
    auto next = in_force.begin();
    for (std::uint64_t epoch = from.value + 1; epoch <= to.value; ++epoch) {
        if (next != in_force.end() && next->revocation.epoch.value == epoch) {
            entries.push_back(entry_of(*next++));
            continue;
        }
        LK_TRY(ended, ledger::find_revocation(t, Epoch{epoch}));
        // Another one's epoch: several are lost, or left out by a restore.
        if (!ended || ended->revocation.epoch.value != epoch) return Entries();
        entries.push_back(entry_of(*ended));
    }
    return Entries(std::move(entries));
}

} // namespace

Result<CatchUp> read_catch_up(ledger::Transaction& t, Epoch from, Wanted wanted) {
    LK_TRY(epoch, ledger::current_epoch(t));
    if (from > epoch) {
        return fail(Code::kConflict,
                    "an agent is at epoch " + std::to_string(from.value) + ", this ledger at " +
                        std::to_string(epoch.value) + ": the ledger was rolled back",
                    "restore the newest database; the agents refuse an older one");
    }
    CatchUp catch_up{.from = from, .epoch = epoch, .is_full = false, .entries = {}};
    if (wanted == Wanted::kNew) {
        if (from == epoch) return catch_up;
        LK_TRY(newer, ledger::revocations_after(t, from));
        LK_TRY(delta, read_delta(t, newer, from, epoch));
        if (delta) {
            catch_up.entries = std::move(*delta);
            return catch_up;
        }
    }
    catch_up.is_full = true;
    LK_TRY(all, ledger::revocations_after(t, Epoch{0}));
    catch_up.entries = entries_of(all);
    return catch_up;
}

Result<CatchUp> read_news(ledger::Transaction& t, Epoch told, Epoch from, Wanted wanted) {
    LK_TRY(epoch, ledger::current_epoch(t));
    if (epoch < told) return CatchUp{.from = from, .epoch = epoch, .is_full = false, .entries = {}};
    return read_catch_up(t, from, wanted);
}

std::vector<std::shared_ptr<const Bytes>> encode_revokes(const CatchUp& catch_up, Epoch skip) {
    std::vector<std::shared_ptr<const Bytes>> messages;
    protocol::Revoke message;
    std::size_t size = 0;
    const auto finish = [&](bool last) {
        message.last = last;
        // In a delta each message brings the agent as far as its entries; a full set counts once it is whole.
        message.epoch = last || message.entries.empty() ? catch_up.epoch : message.entries.back().epoch;
        messages.push_back(std::make_shared<const Bytes>(protocol::encode(message)));
        message.entries.clear();
        size = 0;
    };
    for (const protocol::RevocationEntry& entry : catch_up.entries) {
        if (!catch_up.is_full && entry.epoch <= skip) continue;
        if (size > kMessageSize) finish(false);
        size += entry.kind.size() + entry.text.size() + kEntryOverhead;
        message.entries.push_back(entry);
    }
    finish(true);
    return messages;
}

protocol::TrustSet trust_of(const TrustRoots& roots, const std::vector<ledger::Rule>& rules,
                            const ledger::Vm& vm) {
    return {.ca_keys = roots.ca_keys,
            .ledger_keys = roots.ledger_keys,
            .managed_logins = policy::managed_logins(rules, vm),
            .offline_grace_seconds = vm.offline_grace_seconds};
}

bool is_same(const protocol::TrustSet& a, const protocol::TrustSet& b) {
    return std::tie(a.ca_keys, a.ledger_keys, a.managed_logins, a.offline_grace_seconds) ==
           std::tie(b.ca_keys, b.ledger_keys, b.managed_logins, b.offline_grace_seconds);
}

} // namespace latchkey::hub
