// SPDX-License-Identifier: Apache-2.0
// What goes to all agents: revocations as they commit, trust as policy changes.
#include <boost/asio/steady_timer.hpp>
#include <chrono>

#include "broker/hub/await.h"
#include "broker/hub/offload.h"
#include "broker/hub/state.h"
#include "broker/ledger/policy_rows.h"
#include "broker/ledger/vms.h"

namespace latchkey::hub {
namespace {

constexpr Micros kRetry = from_millis(200);
constexpr std::int64_t kTrustShare = 10; // re-reading policy takes a tenth of the time at most

} // namespace

Result<TrustRoots> Hub::State::trust_roots() {
    TrustRoots roots;
    LK_TRY(cas, parts.issuer.ca_keys());
    for (const keys::PublicKey& key : cas) roots.ca_keys.push_back(key.blob());
    for (const keys::PublicKey& key : parts.ledger_keys) roots.ledger_keys.push_back(key.blob());
    return roots;
}

void Hub::State::epoch_moved() {
    if (is_pushing) {
        must_push_again = true;
        return;
    }
    is_pushing = true;
    spawn_vital(push_revocations(), "push_revocations");
}

// Read once, encoded once, written to all. Revocations that commit meanwhile go out in the next round.
asio::awaitable<void> Hub::State::push_revocations() {
    do {
        must_push_again = false;
        const Epoch told = pushed; // before the read: what it shows is never older, but for a ledger set back
        Epoch from = pushed;       // or where the last agent that was catching up stands
        for (const auto& [vm, link] : agents) {
            if (!link->is_catching_up) from = std::min(from, link->sent_epoch);
        }
        auto read = [this, told, from] {
            return parts.ledger.read_now([&](ledger::Transaction& t) { return read_news(t, told, from); });
        };
        auto news = co_await offload(vital_pool, std::move(read));
        if (news && news->epoch < told) see_set_back(told, news->epoch);
        if (is_set_back) break;
        if (news) {
            tell(*news);
            send_due_beat();
            continue;
        }
        log(LogLevel::kError, "fail to read revocations why=\"" + news.error().line() + "\"");
        asio::steady_timer pause(io, std::chrono::microseconds(kRetry.value));
        co_await pause.async_wait(kAwait);
        must_push_again = true;
    } while (must_push_again && acceptor.is_open());
    is_pushing = false;
}

void Hub::State::tell(const CatchUp& news) {
    const auto shared = encode_revokes(news, pushed);
    for (const auto& [vm, link] : agents) {
        if (link->is_catching_up || link->sent_epoch >= news.epoch) continue;
        if (news.is_full) { // too much has ended in between for a delta: it comes back and gets all of it
            link->tls->close();
            continue;
        }
        if (link->sent_epoch == pushed) {
            for (const SharedBytes& message : shared) link->tls->send(message);
        } else {
            for (SharedBytes& message : encode_revokes(news, link->sent_epoch))
                link->tls->send(std::move(message));
        }
        link->sent_epoch = news.epoch;
        for (const protocol::RevocationEntry& entry : news.entries) {
            if (entry.kind == "vm" && entry.text == link->vm->name.str() &&
                entry.made_at >= link->vm->joined_at)
                let_go(link);
        }
    }
    figures.told(news, pushed);
    pushed = std::max(pushed, news.epoch);
    board.tell(pushed);
}

// It is not served any more, and stays until its receipt is here, or its time is over.
void Hub::State::let_go(const LinkPtr& link) {
    if (link->is_leaving) return;
    link->is_leaving = true;
    link->due = parts.clock.monotonic() + kLeaveTime;
    log(LogLevel::kInfo, "let go vm=" + link->vm->name.str());
}

void Hub::State::policy_changed() {
    ++policy_changes;
    if (is_trusting) {
        must_trust_again = true;
        return;
    }
    is_trusting = true;
    spawn_vital(push_trust(), "push_trust");
}

// Held grants may say too much: every agent asks again before it serves one.
void Hub::State::access_taken() {
    ++access_takings;
    const auto refresh = std::make_shared<const Bytes>(protocol::encode(protocol::Refresh{}));
    for (const auto& [vm, link] : agents) link->tls->send(refresh);
}

// A grant that was being judged while access was taken may be from before that: it goes out marked as such.
void Hub::State::send_grants(Link& link, std::span<const protocol::Grant> grants,
                             std::uint64_t judged_after) const {
    if (link.is_leaving) return; // removed meanwhile
    for (const protocol::Grant& grant : grants) link.send(grant);
    if (judged_after != access_takings) link.send(protocol::Refresh{});
}

// What each connected VM gates, told where it changed; a VM that is removed is let go.
asio::awaitable<void> Hub::State::push_trust() {
    struct Change {
        ledger::Vm vm;
        protocol::TrustSet trust;
    };
    do {
        must_trust_again = false;
        const Micros began = parts.clock.monotonic();
        std::unordered_set<std::uint64_t> connected;
        for (const auto& [vm, link] : agents) connected.insert(vm);
        auto read_changes = [this, connected]() -> Result<std::vector<Change>> {
            LK_TRY(roots, trust_roots());
            return parts.ledger.read([&](ledger::Transaction& t) -> Result<std::vector<Change>> {
                LK_TRY(vms, ledger::list_vms(t));
                LK_TRY(rules, ledger::list_rules(t));
                std::vector<Change> out;
                for (ledger::Vm& vm : vms) {
                    if (!connected.contains(vm.id.value)) continue;
                    protocol::TrustSet trust = trust_of(roots, rules, vm);
                    out.push_back({std::move(vm), std::move(trust)});
                }
                return out;
            });
        };
        auto changes = co_await offload(pool, std::move(read_changes));
        if (!changes) {
            log(LogLevel::kError, "fail to read policy why=\"" + changes.error().line() + "\"");
        } else {
            for (Change& change : *changes) {
                connected.erase(change.vm.id.value);
                const auto found = agents.find(change.vm.id.value);
                if (found == agents.end()) continue;
                const LinkPtr link = found->second;
                link->vm = std::make_shared<const ledger::Vm>(std::move(change.vm));
                if (is_same(link->trust, change.trust)) continue;
                link->trust = change.trust;
                protocol::Trust message;
                message.trust = std::move(change.trust);
                link->send(message);
            }
            for (const std::uint64_t gone : connected) { // no longer in the ledger
                const auto found = agents.find(gone);
                if (found != agents.end()) let_go(found->second);
            }
        }
        const Micros took = parts.clock.monotonic() - began;
        const std::int64_t pause_micros = changes ? took.value * (kTrustShare - 1) : kRetry.value;
        if (!changes) must_trust_again = true;
        asio::steady_timer pause(io, std::chrono::microseconds(pause_micros));
        co_await pause.async_wait(kAwait);
    } while (must_trust_again && acceptor.is_open());
    is_trusting = false;
}

} // namespace latchkey::hub
