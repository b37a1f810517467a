// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the hub knows of one connected agent. Hub thread only.

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "broker/hub/tls_connection.h"
#include "broker/ledger/model.h"
#include "core/base/clock.h"
#include "core/base/names.h"
#include "core/protocol/codec.h"
#include "core/protocol/hub.h"

namespace latchkey::hub {

inline constexpr unsigned kMaxFetchesAtOnce = 8;       // being judged; one VM must not fill the pool
inline constexpr std::size_t kMaxFetchesWaiting = 256; // an agent has no more open
inline constexpr unsigned kMaxStepUpsAtOnce = 4;       // one VM must not keep the others from being judged
// Session events, receipts and reports become audit rows: a VM may write Settings::events_at_once of them
// (what it kept while we were away), then so many a second; it is not listened to meanwhile.
inline constexpr double kEventsPerSecond = 50;
inline constexpr std::size_t kMaxSessionsNamed = 65536; // of one VM, when it comes back
inline constexpr Micros kLeaveTime =
    from_seconds(8); // for a removed VM to answer: it may cut sessions for 5 s

struct Link {
    explicit Link(std::shared_ptr<TlsConnection> over) : tls(std::move(over)) {}

    template <class Message>
    void send(const Message& message) {
        tls->send(std::make_shared<const Bytes>(protocol::encode(message)));
    }

    std::shared_ptr<TlsConnection> tls;
    std::string address;       // the peer's, without port
    std::string group;         // as which it is counted until its Welcome
    std::optional<Micros> due; // monotonic: closed unless done by then (handshake, or its leaving)
    Micros heard_at;           // monotonic: the last frame
    std::uint64_t frames = 0;  // heard since its Welcome
    Bytes instance;            // which run of the agent it is, where that says so
    std::shared_ptr<const ledger::Vm>
        vm; // once its key is known to be a VM's; replaced whole, so that the pool may read
    std::string software;

    std::uint64_t policy_seen = 0; // State::policy_changes when the ledger was first asked about it

    bool was_refused = false;
    bool was_late = false;       // over `due`
    bool is_welcome = false;     // counted as connected
    bool has_step_up = false;    // its agent asks about sudo
    bool is_catching_up = false; // revocations of its Welcome are still being queued
    std::uint64_t written = 0;   // of them, as the last tick saw it
    Epoch sent_epoch;            // told up to here
    protocol::TrustSet trust;    // as last sent
    unsigned fetches = 0;        // being judged
    std::deque<protocol::Fetch> waiting_fetches;
    unsigned step_ups = 0; // being judged
    double event_tokens = 0;
    Micros events_filled_at;

    std::optional<std::uint64_t> frames_when_elsewhere; // when another broker was last seen to have it

    // Until its first receipt or heartbeat it names the sessions that it has.
    bool is_naming = true;
    std::vector<std::uint64_t> named;

    bool is_leaving = false; // removed: it gets no grant any more, and is closed once it has answered

    bool is_seen_due = false; // something new to write into the VM's row
    Micros seen_noted_at;     // monotonic
    std::int64_t clock_offset_micros = 0;
    std::string trouble;
};
using LinkPtr = std::shared_ptr<Link>;

} // namespace latchkey::hub
