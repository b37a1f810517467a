// SPDX-License-Identifier: Apache-2.0
// Grants ahead of need: an unlock opens or renews, and the VMs where that user was lately get a fresh grant.
// It is never anybody's wait: what an unlock costs is a place in a queue. One unlock is worked off at a time,
// one VM after the other, so that a crowd at nine o'clock leaves the pool to those who log in; what does not
// find a place is fetched at the login instead.
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

#include "broker/hub/offload.h"
#include "broker/hub/state.h"
#include "broker/ledger/vms.h"

namespace latchkey::hub {
namespace {

constexpr Micros kRecent = from_seconds(7 * 24 * 3600);
constexpr std::size_t kMaxPrefetches = 4096; // unlocks that wait

} // namespace

void Hub::State::want_prefetch(Ahead ahead) {
    const std::uint64_t key = ahead.key.id.value;
    const bool is_new =
        prefetches.insert_or_assign(key, std::move(ahead)).second; // the newest unlock of a key
    if (!is_new) return;
    if (prefetch_order.size() >= kMaxPrefetches) {
        prefetches.erase(key);
        return;
    }
    prefetch_order.push_back(key);
    if (is_prefetching) return;
    is_prefetching = true;
    asio::co_spawn(io, work_off_prefetches(), asio::detached);
}

asio::awaitable<void> Hub::State::work_off_prefetches() {
    while (!prefetch_order.empty() && acceptor.is_open()) {
        const auto next = prefetches.extract(prefetch_order.front());
        prefetch_order.pop_front();
        Ahead ahead = std::move(next.mapped());
        co_await push_ahead(std::move(ahead));
    }
    is_prefetching = false;
}

asio::awaitable<void> Hub::State::push_ahead(Ahead ahead) {
    auto find_recent = [this, user = ahead.user.name] {
        return parts.ledger.read([&](ledger::Transaction& t) {
            return ledger::recent_vms_of(t, user, Micros{t.now.value - kRecent.value});
        });
    };
    const auto recent = co_await offload(pool, std::move(find_recent));
    if (!recent) co_return;
    for (const VmId vm : *recent) {
        const auto found = agents.find(vm.value);
        if (found == agents.end()) continue;
        const LinkPtr link = found->second;
        const std::shared_ptr<const ledger::Vm> row = link->vm;
        auto prepare = [this, row, ahead] {
            return parts.issuer.grants_ahead(*row, ahead.user, ahead.key, ahead.unlock);
        };
        const std::uint64_t judged_after = access_takings;
        const auto grants = co_await offload(fetch_pool, std::move(prepare));
        if (!grants) {
            log(LogLevel::kWarn,
                "fail to prefetch vm=" + row->name.str() + " why=\"" + grants.error().line() + "\"");
            co_return;
        }
        send_grants(*link, *grants, judged_after);
    }
}

} // namespace latchkey::hub
