// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/listeners.h"

#include "broker/ledger/revocations.h"
#include "broker/ledger/rows.h"

namespace latchkey::ledger {
namespace {

Result<std::uint64_t> count_one(Transaction& t, const char* name) {
    LK_TRY(row, query_one(t,
                          "INSERT INTO counters (name, value) VALUES ($1, 1) "
                          "ON CONFLICT (name) DO UPDATE SET value = counters.value + 1 RETURNING value",
                          name));
    return row ? Columns(*row).number() : 0;
}

} // namespace

Result<Listeners::Counts> Listeners::read_counts(Transaction& t) {
    Counts counts;
    LK_TRY(epoch, current_epoch(t));
    counts.epoch = epoch;
    LK_TRY(rows, query(t, "SELECT name, value FROM counters WHERE name = 'policy' OR name = 'access'"));
    for (const Row& row : rows.rows) {
        Columns columns(row);
        const std::string name = columns.text();
        (name == "policy" ? counts.policy : counts.access) = columns.number();
    }
    return counts;
}

Status Listeners::count(Transaction& t) {
    if (t.scratch.has_policy_changed) {
        LK_TRY(policy, count_one(t, "policy"));
        t.scratch.policy_count = policy;
    }
    if (t.scratch.has_taken_access) {
        LK_TRY(access, count_one(t, "access"));
        t.scratch.access_count = access;
    }
    return {};
}

void Listeners::on_epoch(std::function<void(Epoch)> listener) {
    const std::lock_guard lock(mutex_);
    epoch_listeners_.push_back(std::move(listener));
}

void Listeners::on_policy_change(std::function<void()> listener) {
    const std::lock_guard lock(mutex_);
    policy_listeners_.push_back(std::move(listener));
}

void Listeners::on_access_taken(std::function<void()> listener) {
    const std::lock_guard lock(mutex_);
    access_listeners_.push_back(std::move(listener));
}

void Listeners::begin_at(const Counts& counts) {
    const std::lock_guard lock(mutex_);
    told_ = counts;
}

Epoch Listeners::told_epoch() const {
    const std::lock_guard lock(mutex_);
    return told_.epoch;
}

void Listeners::tell_epoch(Epoch epoch) {
    if (epoch <= told_.epoch) return;
    told_.epoch = epoch;
    for (const auto& listener : epoch_listeners_) listener(epoch);
}

void Listeners::tell_all(const std::vector<std::function<void()>>& listeners) {
    for (const auto& listener : listeners) listener();
}

void Listeners::tell(const Scratch& committed) {
    const std::lock_guard lock(mutex_);
    if (committed.epoch) tell_epoch(*committed.epoch);
    if (committed.has_policy_changed) {
        if (committed.policy_count != 0) told_.policy = committed.policy_count;
        tell_all(policy_listeners_);
    }
    if (committed.has_taken_access) {
        if (committed.access_count != 0) told_.access = committed.access_count;
        tell_all(access_listeners_);
    }
}

// A number that went back was set by hand: that is a change too. An older one than ours, read before our
// commit was there, tells once too often; that does no harm.
void Listeners::tell(const Counts& found) {
    const std::lock_guard lock(mutex_);
    tell_epoch(found.epoch);
    if (found.policy != told_.policy) {
        told_.policy = found.policy;
        tell_all(policy_listeners_);
    }
    if (found.access != told_.access) {
        told_.access = found.access;
        tell_all(access_listeners_);
    }
}

} // namespace latchkey::ledger
