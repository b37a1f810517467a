// SPDX-License-Identifier: Apache-2.0
// Who comes back, and what it is to be told: read for many in one job. Pool threads.
#include <optional>
#include <tuple>

#include "broker/hub/state.h"
#include "broker/ledger/policy_rows.h"
#include "broker/ledger/vm_reports.h"
#include "broker/ledger/vms.h"

namespace latchkey::hub {
namespace {

using FoundVm = std::optional<ledger::Vm>;

Result<FoundVm> find_by_key(ledger::Transaction& t, const keys::RawEd25519& key) {
    LK_TRY(vm, ledger::find_vm_by_key(t, key));
    if (vm) return vm;
    // One that was away when it was removed: it is to hear of that, and to answer, once.
    LK_TRY(removed, ledger::find_removed_vm_by_key(t, key));
    if (!removed) return removed;
    LK_TRY(epoch, ledger::epoch_of_removal(t, *removed));
    if (removed->confirmed_epoch >= epoch) removed.reset();
    return removed;
}

// What one transaction shows; most of those that come back lack the same.
class Shown {
public:
    Shown(ledger::Transaction& t, const TrustRoots& roots) : t_(t), roots_(roots) {}

    Result<Standing> standing_of(const ledger::Vm& vm, const Missed& missed) {
        const auto asked = std::tuple(missed.told, missed.from, missed.wanted);
        if (!news_ || asked != asked_) {
            LK_TRY(news, read_news(t_, missed.told, missed.from, missed.wanted));
            news_ = std::move(news);
            asked_ = asked;
        }
        if (!rules_) {
            LK_TRY(rules, ledger::list_rules(t_));
            rules_ = std::move(rules);
        }
        LK_TRY(has_sessions, ledger::has_sessions_except(t_, vm.id, {}));
        return Standing{*news_, trust_of(roots_, *rules_, vm), has_sessions};
    }

private:
    ledger::Transaction& t_;
    const TrustRoots& roots_;
    std::optional<CatchUp> news_;
    std::tuple<Epoch, Epoch, Wanted> asked_;
    std::optional<std::vector<ledger::Rule>> rules_;
};

} // namespace

Result<std::optional<ledger::Vm>> Hub::State::find_vm(const keys::RawEd25519& key) {
    return parts.ledger.read([&](ledger::Transaction& t) { return find_by_key(t, key); });
}

Result<Standing> Hub::State::read_standing(const ledger::Vm& vm, const Missed& missed) {
    LK_TRY(roots, trust_roots());
    return parts.ledger.read([&](ledger::Transaction& t) { return Shown(t, roots).standing_of(vm, missed); });
}

// The signer, which trust_roots() may ask, is not kept waiting for by a transaction, nor asked for strangers.
std::vector<Result<Met>> Hub::State::meet(const std::vector<Newcomer>& newcomers) {
    const auto all_fail = [&](const Error& error) {
        std::vector<Result<Met>> answers;
        for (std::size_t i = 0; i < newcomers.size(); ++i) answers.emplace_back(fail(error));
        return answers;
    };
    using Found = std::vector<FoundVm>;
    const auto found = parts.ledger.read([&](ledger::Transaction& t) -> Result<Found> {
        Found vms;
        for (const Newcomer& one : newcomers) {
            LK_TRY(vm, find_by_key(t, one.key));
            vms.push_back(std::move(vm));
        }
        return vms;
    });
    if (!found) return all_fail(found.error());
    std::vector<Result<Met>> answers;
    for (const FoundVm& vm : *found) answers.emplace_back(Met{vm, std::nullopt});
    if (std::ranges::none_of(*found, &FoundVm::has_value)) return answers;

    const auto roots = trust_roots();
    using Standings = std::vector<std::optional<Result<Standing>>>;
    auto read = [&](ledger::Transaction& t) -> Result<Standings> {
        Standings standings(newcomers.size());
        Shown shown(t, *roots);
        for (std::size_t i = 0; i < newcomers.size(); ++i) {
            if ((*found)[i]) standings[i] = shown.standing_of(*(*found)[i], newcomers[i].missed);
        }
        return standings;
    };
    auto standings = roots ? parts.ledger.read(read) : Result<Standings>(fail(roots.error()));
    for (std::size_t i = 0; i < newcomers.size(); ++i) {
        if (!(*found)[i]) continue;
        answers[i]->standing =
            standings ? std::move((*standings)[i]) : Result<Standing>(fail(standings.error()));
    }
    return answers;
}

} // namespace latchkey::hub
