// SPDX-License-Identifier: Apache-2.0
#include "broker/unlock/factors.h"

#include <utility>

#include "broker/ledger/audit.h"
#include "broker/ledger/factors.h"
#include "broker/ledger/users.h"

namespace latchkey::unlock {
namespace {

constexpr std::string_view kDefaultPrompt = "Verification code: ";
constexpr Micros kDenialEvery = from_seconds(60);

struct Standing {
    std::optional<ledger::User> user;
    ledger::FailureState failures;
    std::vector<ledger::FactorRow> factors;
};

// `from` is an address that we formatted, reason and kind are words of ours: nothing to escape.
std::string detail(std::string_view kind, std::string_view reason, const std::string& from) {
    std::string json = "{";
    if (!kind.empty()) json += "\"factor\":\"" + std::string(kind) + "\",";
    if (!reason.empty()) json += "\"reason\":\"" + std::string(reason) + "\",";
    return json + "\"from\":\"" + from + "\"}";
}

// Which figure an outcome belongs to; a plugin's own words count as wrong.
struct OutcomeName {
    std::string_view reason;
    std::string_view label;
};
constexpr std::array<OutcomeName, 8> kOutcomes = {{{"", "accepted"},
                                                   {"wrong code", "wrong"},
                                                   {"code used before", "used_before"},
                                                   {"blocked", "blocked"},
                                                   {"account locked", "locked"},
                                                   {"no factor", "no_factor"},
                                                   {"factor not available", "not_available"},
                                                   {"", "error"}}};

std::size_t outcome_index(const Result<Outcome>& outcome) {
    if (!outcome) return kOutcomes.size() - 1;
    if (outcome->accepted) return 0;
    for (std::size_t i = 1; i + 1 < kOutcomes.size(); ++i) {
        if (kOutcomes[i].reason == outcome->reason) return i;
    }
    return 1;
}

bool is_plain_words(std::string_view text) {
    for (const char c : text) {
        const bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!is_letter && c != ' ' && c != '-') return false;
    }
    return !text.empty() && text.size() <= 64;
}

} // namespace

class Factors::Turn {
public:
    Turn(Factors& factors, RowId user) : factors_(factors), user_(user.value) {
        std::unique_lock lock(factors_.mutex_);
        factors_.turn_free_.wait(lock, [&] { return factors_.checking_.count(user_) == 0; });
        factors_.checking_.insert(user_);
    }
    ~Turn() {
        {
            const std::lock_guard lock(factors_.mutex_);
            factors_.checking_.erase(user_);
        }
        factors_.turn_free_.notify_all();
    }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

private:
    Factors& factors_;
    std::uint64_t user_;
};

Factors::Factors(ledger::Ledger& ledger, std::vector<std::unique_ptr<plugin_host::Factor>> plugins,
                 Options options)
    : ledger_(ledger), options_(std::move(options)) {
    for (auto& loaded : plugins) plugins_.emplace(std::string(loaded->kind()), std::move(loaded));
}

plugin_host::Factor* Factors::plugin(std::string_view kind) const {
    const auto found = plugins_.find(kind);
    return found == plugins_.end() ? nullptr : found->second.get();
}

std::vector<std::string> Factors::kinds() const {
    std::vector<std::string> names;
    for (const auto& [name, unused] : plugins_) names.push_back(name);
    return names;
}

std::string Factors::prompt(RowId user) {
    auto rows = ledger_.read([&](ledger::Transaction& t) { return ledger::factors_of(t, user); });
    if (!rows) return std::string(kDefaultPrompt);
    // Recovery codes are taken at the same prompt; they do not choose its words.
    for (const ledger::FactorRow& row : *rows) {
        plugin_host::Factor* const asked = plugin(row.kind);
        if (asked == nullptr || row.kind == "recovery") continue;
        if (auto words = asked->challenge(row.state); words && !words->empty()) return *words;
    }
    return std::string(kDefaultPrompt);
}

Result<Outcome> Factors::check(RowId user, RowId key, std::string_view answer, const std::string& from) {
    const Use use{from, "door.login", [&](ledger::Transaction& t, Outcome& accepted) -> Status {
                      LK_TRY(owner, ledger::find_user(t, user));
                      return open(t, user, key, owner ? owner->name.str() : std::string(), accepted);
                  }};
    auto outcome = judge(user, answer, use);
    if (!outcome || !outcome->accepted || !listener_) return outcome;
    const auto person = ledger_.read([&](ledger::Transaction& t) { return ledger::find_user(t, user); });
    const auto keys = ledger_.read([&](ledger::Transaction& t) { return ledger::keys_of(t, user); });
    if (!person || !*person || !keys) return outcome;
    for (const ledger::Key& row : *keys) {
        if (row.id == key) tell(**person, row, outcome->unlock);
    }
    return outcome;
}

Result<Outcome> Factors::step_up(RowId user, std::string_view answer, const std::string& from,
                                 const Record& record) {
    return judge(user, answer,
                 {from, "sudo.deny", [&](ledger::Transaction& t, Outcome&) { return record(t); }});
}

Result<Outcome> Factors::judge(RowId user, std::string_view answer, const Use& use) {
    const metrics::Stopwatch watch(judging_);
    auto outcome = judge_answer(user, answer, use);
    checks_[outcome_index(outcome)].add();
    return outcome;
}

void Factors::describe(metrics::Registry& registry) const {
    for (std::size_t i = 0; i < checks_.size(); ++i) {
        registry.add("latchkey_factor_checks_total",
                     "Second factors judged, for unlocks and sudo, by outcome.", checks_[i],
                     {{"outcome", std::string(kOutcomes[i].label)}});
    }
    registry.add("latchkey_factor_check_duration_seconds", "Judging a second factor, with its record.",
                 judging_);
}

Result<Outcome> Factors::judge_answer(RowId user, std::string_view answer, const Use& use) {
    const Turn turn(*this, user);
    LK_TRY(standing, ledger_.read([&](ledger::Transaction& t) -> Result<Standing> {
        Standing found;
        LK_TRY(row, ledger::find_user(t, user));
        found.user = std::move(row);
        if (!found.user) return found;
        LK_TRY(failures, ledger::failure_state(t, user));
        found.failures = failures;
        LK_TRY(factors, ledger::factors_of(t, user));
        found.factors = std::move(factors);
        return found;
    }));
    const Micros now = options_.clock->now();
    if (!standing.user || standing.user->state == ledger::UserState::kRemoved) {
        return Outcome{false, "no such user", {}, {}};
    }
    if (standing.user->state != ledger::UserState::kActive) {
        note_denied(*standing.user, "account locked", use.from, use.denial);
        return Outcome{false, "account locked", {}, {}};
    }
    if (standing.failures.blocked_until > now) {
        note_denied(*standing.user, "blocked", use.from, use.denial);
        return Outcome{false, "blocked", standing.failures.blocked_until, {}};
    }
    std::string reason = standing.factors.empty() ? "no factor" : "wrong code";
    if (answer.empty() || answer.size() > kMaxAnswer) return refuse(*standing.user, reason, use.from);
    for (const ledger::FactorRow& factor : standing.factors) {
        plugin_host::Factor* const judge = plugin(factor.kind);
        if (judge == nullptr) continue;
        auto outcome = judge->check(factor.state, answer, now);
        if (!outcome) {
            reason = "factor not available";
            continue;
        }
        if (outcome->accepted) return accept(*standing.user, factor, outcome->next_state, use);
        if (factor.kind != "recovery" && is_plain_words(outcome->reason)) reason = outcome->reason;
    }
    return refuse(*standing.user, reason, use.from);
}

Result<Outcome> Factors::accept(const ledger::User& user, const ledger::FactorRow& factor,
                                const SecretBytes& next_state, const Use& use) {
    auto done = ledger_.write([&](ledger::Transaction& t) -> Result<Outcome> {
        LK_TRY(now_user, ledger::find_user(t, user.id));
        if (!now_user || now_user->state != ledger::UserState::kActive) {
            return Outcome{false, "account locked", {}, {}};
        }
        LK_TRY(failures, ledger::failure_state(t, user.id));
        if (failures.blocked_until > t.now) return Outcome{false, "blocked", failures.blocked_until, {}};
        LK_CHECK(ledger::replace_factor_state(t, factor.id, factor.version, next_state));
        LK_CHECK(ledger::clear_failures(t, user.id));
        const std::string actor = user.name.str();
        LK_CHECK(ledger::append_audit(
            t, {actor, "factor.check", actor, "allow", detail(factor.kind, {}, use.from)}));
        Outcome outcome{true, {}, {}, {}};
        LK_CHECK(use.effect(t, outcome));
        return outcome;
    });
    // The same code won elsewhere between our reading and our writing.
    if (!done && done.error().code == Code::kConflict) return refuse(user, "code used before", use.from);
    return done;
}

Status Factors::open(ledger::Transaction& t, RowId user, RowId key, const std::string& actor,
                     Outcome& outcome) const {
    const Micros ends_at = t.now + options_.unlock_for;
    LK_TRY(live, ledger::live_unlock(t, user, key));
    if (live) {
        LK_CHECK(ledger::refresh_unlock(t, live->id, ends_at, t.now, actor));
        outcome.unlock = *live;
        outcome.unlock.ends_at = ends_at;
        outcome.unlock.factor_at = t.now;
        return {};
    }
    LK_TRY(opened, ledger::open_unlock(t, user, key, ends_at, t.now, actor));
    outcome.unlock = opened;
    return {};
}

void Factors::note_denied(const ledger::User& user, const std::string& reason, const std::string& from,
                          std::string_view action) {
    const Micros now = options_.clock->monotonic();
    {
        const std::lock_guard lock(mutex_);
        const auto [told, is_first] = denials_told_.try_emplace(user.id.value, now);
        if (!is_first && now - told->second < kDenialEvery) return;
        told->second = now;
    }
    const std::string name = user.name.str();
    const Status written = ledger_.write([&](ledger::Transaction& t) {
        return ledger::append_audit(t, {name, std::string(action), name, "deny", detail({}, reason, from)});
    });
    (void)written; // the denial stands without its row
}

void Factors::tell(const ledger::User& user, const ledger::Key& key, const ledger::Unlock& unlock) const {
    if (listener_) listener_(user, key, unlock);
}

Result<Outcome> Factors::refuse(const ledger::User& user, const std::string& reason,
                                const std::string& from) {
    return ledger_.write([&](ledger::Transaction& t) -> Result<Outcome> {
        LK_TRY(failures, ledger::note_failure(t, user.id));
        const std::string actor = user.name.str();
        LK_CHECK(ledger::append_audit(t, {actor, "factor.check", actor, "deny", detail({}, reason, from)}));
        return Outcome{false, reason, failures.blocked_until, {}};
    });
}

} // namespace latchkey::unlock
