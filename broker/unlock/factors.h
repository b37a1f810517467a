// SPDX-License-Identifier: Apache-2.0
#pragma once
// Second factors of a user and the unlock that an accepted answer opens. A refusal is a value (Outcome), an
// Error means that the question could not be judged: both deny. Blocks on the ledger and in a plugin; any
// thread. One check a user at a time in this process; others wait their turn. The ledger and the clock
// outlive it.

#include <array>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "broker/ledger/ledger.h"
#include "broker/ledger/model.h"
#include "broker/metrics/registry.h"
#include "broker/plugin_host/factor.h"
#include "core/base/clock.h"
#include "core/base/result.h"

namespace latchkey::unlock {

inline constexpr Micros kDefaultUnlock = from_seconds(12 * 3600);
inline constexpr std::size_t kMaxAnswer = 256;

struct Outcome {
    bool accepted = false;
    std::string reason;    // "wrong code", "code used before", "blocked", "no factor", "account locked"
    Micros blocked_until;  // 0: not blocked
    ledger::Unlock unlock; // where accepted: as it stands now
};

class Factors {
public:
    struct Options {
        const Clock* clock = nullptr;
        std::string issuer = "Latchkey"; // the name that an authenticator shows
        Micros unlock_for = kDefaultUnlock;
    };
    Factors(ledger::Ledger& ledger, std::vector<std::unique_ptr<plugin_host::Factor>> plugins,
            Options options);

    // What to ask this user; the same words for a user without a factor.
    std::string prompt(RowId user);
    // Judges the answer over all factors of the user. Accepted: the factor's next state, the cleared count
    // and the unlock of this key are one transaction.
    Result<Outcome> check(RowId user, RowId key, std::string_view answer, const std::string& from);

    // The same judgement and the same count for sudo on a VM, without an unlock: a code that was typed on a
    // VM opens nothing at the broker. `record` joins the transaction that accepts.
    using Record = std::function<Status(ledger::Transaction&)>;
    Result<Outcome> step_up(RowId user, std::string_view answer, const std::string& from,
                            const Record& record);

    // An audit row for a person who proved their key and was turned away all the same: one a minute for each
    // user, so that a stolen key cannot fill the chain.
    void note_denied(const ledger::User& user, const std::string& reason, const std::string& from,
                     std::string_view action = "door.login");

    // Called after each unlock that was opened or refreshed, on the caller's thread: for prefetch. Set it
    // before the first check; it must not block.
    using Listener = std::function<void(const ledger::User&, const ledger::Key&, const ledger::Unlock&)>;
    void on_unlock(Listener listener) { listener_ = std::move(listener); }
    void tell(const ledger::User& user, const ledger::Key& key, const ledger::Unlock& unlock) const;

    // nullptr where no such plugin is loaded. Owned here.
    plugin_host::Factor* plugin(std::string_view kind) const;
    std::vector<std::string> kinds() const;

    void describe(metrics::Registry& registry) const;

    const Options& options() const { return options_; }
    ledger::Ledger& ledger() const { return ledger_; }

private:
    class Turn; // one check a user at a time

    // What a right code does besides being spent, in the same transaction.
    using Effect = std::function<Status(ledger::Transaction&, Outcome&)>;
    struct Use {
        std::string from;
        std::string_view denial; // audit action of what is denied without looking at the code
        Effect effect;
    };
    Result<Outcome> judge(RowId user, std::string_view answer, const Use& use); // and counts it
    Result<Outcome> judge_answer(RowId user, std::string_view answer, const Use& use);
    Result<Outcome> accept(const ledger::User& user, const ledger::FactorRow& factor,
                           const SecretBytes& next_state, const Use& use);
    Status open(ledger::Transaction& t, RowId user, RowId key, const std::string& actor,
                Outcome& outcome) const;
    Result<Outcome> refuse(const ledger::User& user, const std::string& reason, const std::string& from);

    ledger::Ledger& ledger_;
    std::map<std::string, std::unique_ptr<plugin_host::Factor>, std::less<>> plugins_;
    Options options_;
    Listener listener_;
    std::array<metrics::Counter, 8> checks_; // by outcome, as describe() names them
    metrics::Histogram judging_;
    std::mutex mutex_;
    std::condition_variable turn_free_;
    std::set<std::uint64_t> checking_;             // users, under mutex_
    std::map<std::uint64_t, Micros> denials_told_; // by user, under mutex_
};

} // namespace latchkey::unlock
