// SPDX-License-Identifier: Apache-2.0
// One agent's conversation: who it is, what it missed, then its requests until it leaves.
#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdlib>

#include "broker/hub/await.h"
#include "broker/hub/offload.h"
#include "broker/hub/state.h"
#include "broker/ledger/audit.h"
#include "broker/ledger/policy_rows.h"
#include "broker/ledger/vm_reports.h"
#include "broker/ledger/vms.h"
#include "core/protocol/dropped.h"
#include "core/protocol/local.h"

namespace latchkey::hub {
namespace {

constexpr std::size_t kFirstFrameLimit = 64 * 1024;      // before we know who it is
constexpr Micros kReadTime = from_seconds(2);            // for our last words
constexpr std::int64_t kOffsetWorthTelling = 30'000'000; // micros
constexpr std::size_t kMaxSoftwareName = 64;
constexpr std::size_t kMaxRefusal = 200;

protocol::Grant denial_of(const protocol::Fetch& fetch, std::string reason) {
    protocol::Grant denial;
    denial.request = fetch.request;
    denial.login = fetch.login;
    denial.key = fetch.key;
    denial.reason = std::move(reason);
    return denial;
}

Error unknown_key() {
    return {Code::kUnauthenticated, "this VM's key is not registered here",
            "on the VM run: latchkey-agent join TOKEN"};
}

void take_vm(Link& link, ledger::Vm vm) {
    link.is_leaving = vm.state == ledger::VmState::kRemoved;
    link.vm = std::make_shared<const ledger::Vm>(std::move(vm));
}

Result<protocol::Hello> hello_in(const Result<protocol::Frame>& frame) {
    if (!frame) return fail(frame.error());
    return protocol::decode<protocol::Hello>(*frame);
}

std::string shortened(std::string text, std::size_t size) {
    if (text.size() > size) text.resize(size);
    for (char& c : text) {
        if (c < ' ' || c > '~') c = '?';
    }
    return text;
}

} // namespace

asio::awaitable<Status> Hub::State::refuse(LinkPtr link, Error error) {
    protocol::Refused message;
    message.code = std::string(info(error.code).name);
    message.message = error.message;
    message.next = error.next;
    link->was_refused = true;
    link->send(message);
    link->tls->finish();
    link->due = parts.clock.monotonic() + kReadTime;
    for (;;) { // so that our words are read before the connection is torn
        const auto ignored = co_await link->tls->read(kFirstFrameLimit);
        if (!ignored) co_return fail(std::move(error));
    }
}

asio::awaitable<Status> Hub::State::converse(LinkPtr link) {
    const auto key = co_await link->tls->handshake();
    if (!key) co_return fail(key.error());
    if (is_set_back) co_return co_await refuse(link, set_back_error());
    link->policy_seen = policy_changes;
    auto frame = co_await link->tls->read(kFirstFrameLimit);
    auto hello = hello_in(frame);
    if (!hello) {
        auto next = co_await first_words(link, *key, std::move(frame));
        if (!next) co_return fail(next.error());
        hello = protocol::decode<protocol::Hello>(*next);
        if (!hello) co_return co_await refuse(link, hello.error());
    }
    const Status welcomed = co_await welcome(link, *key, std::move(*hello));
    if (!welcomed) co_return welcomed;
    co_return co_await listen(link);
}

// Whose first frame is no Hello that can be read: one that is not known has to join first.
asio::awaitable<Result<protocol::Frame>> Hub::State::first_words(LinkPtr link, keys::RawEd25519 key,
                                                                 Result<protocol::Frame> frame) {
    auto find = [this, key] { return find_vm(key); };
    auto vm = co_await offload(pool, std::move(find));
    if (!vm) {
        const Status refused = co_await refuse(link, vm.error());
        co_return fail(refused.error());
    }
    if (*vm) take_vm(*link, std::move(**vm));
    if (!frame) co_return frame;
    if (frame->type == protocol::Type::kJoin) {
        auto joined = co_await join(link, std::move(*frame), key);
        if (!joined) {
            const Status refused = co_await refuse(link, joined.error());
            co_return fail(refused.error());
        }
        take_vm(*link, std::move(*joined));
        co_return co_await link->tls->read(kFirstFrameLimit);
    }
    if (!link->vm) {
        const Status refused = co_await refuse(link, unknown_key());
        co_return fail(refused.error());
    }
    co_return frame;
}

asio::awaitable<Result<ledger::Vm>> Hub::State::join(LinkPtr link, protocol::Frame frame,
                                                     keys::RawEd25519 key) {
    auto request = protocol::decode<protocol::Join>(frame);
    if (!request) co_return fail(request.error());
    const auto wish = std::make_shared<protocol::Join>(std::move(*request));
    auto join_vm = [this, wish, key] {
        return parts.ledger.write([&](ledger::Transaction& t) {
            return ledger::join_vm(t, wish->token_id, wish->token_secret.view(), wish->name, key,
                                   wish->labels);
        });
    };
    auto vm = co_await offload(pool, std::move(join_vm));
    if (!vm) co_return vm;
    protocol::Joined answer;
    answer.vm_id = vm->id;
    answer.name = vm->name;
    link->send(answer);
    log(LogLevel::kInfo, "join vm=" + vm->name.str());
    co_return vm;
}

// Who it is and what it is told are one trip to the ledger, for several at once.
asio::awaitable<Status> Hub::State::welcome(LinkPtr link, keys::RawEd25519 key, protocol::Hello hello) {
    const Epoch theirs = hello.epoch;
    const bool wants_all = std::ranges::any_of(hello.extensions, [](const protocol::Extension& extension) {
        return extension.name == protocol::kResyncExtension;
    });
    const Wanted wanted = wants_all ? Wanted::kAll : Wanted::kNew;
    Missed missed{pushed, theirs, wanted};
    Micros seen_at = parts.clock.now(); // what the Welcome says is true of then
    std::optional<Result<Standing>> read;
    if (!link->vm) {
        Newcomer newcomer{key, missed};
        auto met = co_await arrivals.ask(newcomer, waiting_count);
        if (!met) co_return co_await refuse(link, met.error());
        if (!met->vm) co_return co_await refuse(link, unknown_key());
        take_vm(*link, std::move(*met->vm));
        read = std::move(met->standing);
    }
    const ledger::Vm vm = *link->vm;
    if (hello.version_min > protocol::kHubVersion || hello.version_max < protocol::kHubVersion) {
        Error unfit{Code::kUnsupported,
                    "the agent speaks hub versions " + std::to_string(hello.version_min) + " to " +
                        std::to_string(hello.version_max) + ", this broker " +
                        std::to_string(protocol::kHubVersion),
                    "update the older side"};
        co_return co_await refuse(link, std::move(unfit));
    }
    const bool has_older = agents.contains(vm.id.value);
    Bytes instance = instance_in(hello);
    const bool has_twin = co_await is_clone(link, std::move(instance));
    if (has_twin) co_return co_await refuse_clone(link);
    if (has_older) read.reset(); // that took its time
    for (;;) { // again where a revocation was pushed while we read: the agent must not miss it
        if (!read) {
            missed.told = pushed;
            seen_at = parts.clock.now();
            auto read_again = [this, missed, vm] { return read_standing(vm, missed); };
            read = co_await offload(pool, std::move(read_again));
        }
        if (*read && (*read)->catch_up.epoch < missed.told)
            see_set_back(missed.told, (*read)->catch_up.epoch);
        if (is_set_back) co_return co_await refuse(link, set_back_error());
        if (!*read || !link->tls->is_open() || (*read)->catch_up.epoch >= pushed) break;
        read.reset();
    }
    if (!*read) {
        if (read->error().code == Code::kConflict) record_rollback(vm, read->error(), theirs);
        co_return co_await refuse(link, read->error());
    }
    Standing standing = std::move(**read);

    if (!link->tls->is_open()) co_return fail(Code::kUnavailable, "the connection ended");

    protocol::Welcome answer;
    answer.software = settings.software;
    if (parts.factors != nullptr) answer.capabilities.emplace_back(protocol::kStepUpCapability);
    answer.vm_id = vm.id;
    answer.vm_name = vm.name;
    answer.time = seen_at;
    answer.epoch = standing.catch_up.epoch;
    answer.full = standing.catch_up.is_full;
    answer.heartbeat_seconds =
        static_cast<std::uint32_t>(std::max<std::int64_t>(1, settings.heartbeat.seconds()));
    answer.trust = standing.trust;
    if (dropped.erase(vm.id.value) != 0) {
        constexpr std::string_view why = "this VM read too slowly: too much was waiting for it";
        answer.extensions.push_back({std::string(protocol::kDroppedExtension), to_bytes(as_bytes(why))});
    }
    protocol::set_brokers(answer, settings.brokers);

    link->due.reset();
    if (link->is_leaving) link->due = parts.clock.monotonic() + kLeaveTime;
    link->software = shortened(hello.software, kMaxSoftwareName);
    link->clock_offset_micros = (hello.time - parts.clock.now()).value;
    link->is_seen_due = true;
    link->sent_epoch = standing.catch_up.epoch;
    link->trust = std::move(standing.trust);
    // Where none of its sessions is open in the ledger, and nobody can be about to write one, none is to be
    // closed.
    link->is_naming = standing.has_sessions || has_older || settings.shares_ledger;
    link->is_welcome = true;
    link->is_catching_up = true;
    --waiting_count;
    if (--waiting[link->group] == 0) waiting.erase(link->group);
    figures.connections.welcome.add();
    LinkPtr& place = agents[vm.id.value];
    if (place) place->tls->close(); // the same VM, back before we knew that it was gone
    place = link;
    link->has_step_up =
        std::ranges::find(hello.capabilities, protocol::kStepUpCapability) != hello.capabilities.end();
    board.connect(vm.id, vm.confirmed_epoch, parts.clock.now(), link->has_step_up);
    places_due[vm.id.value] = place_of(*link);
    auto messages = encode_revokes(standing.catch_up, theirs);
    Bytes first = protocol::encode(answer); // with the first of them: one write, one waking of the agent
    first.insert(first.end(), messages.front()->begin(), messages.front()->end());
    messages.front() = std::make_shared<const Bytes>(std::move(first));
    if (link->policy_seen != policy_changes) policy_changed(); // what we know of it may be from before
    log_of(LogLevel::kInfo, vm, "welcome agent", " epoch=" + std::to_string(theirs.value));
    co_return co_await send_catch_up(link, std::move(messages));
}

// The ledger is older than what an agent has seen: somebody must look at that.
void Hub::State::record_rollback(const ledger::Vm& vm, const Error& why, Epoch theirs) {
    if (!log_of(LogLevel::kError, vm, "refuse agent", " why=\"" + why.line() + "\"")) return;
    ledger::AuditEvent event{.actor = "vm:" + vm.name.str(),
                             .action = "hub.rollback",
                             .object = "ledger",
                             .outcome = "deny",
                             .detail = "{\"agent_epoch\":" + std::to_string(theirs.value) + "}"};
    asio::post(pool, [this, event = std::move(event)] { record_rollback_event(event); });
    note(vm, "rollback", why.message);
}

void Hub::State::record_rollback_event(const ledger::AuditEvent& event) {
    const Status written =
        parts.ledger.write([&](ledger::Transaction& t) { return ledger::append_audit(t, event); });
    if (!written) log(LogLevel::kError, "fail to record rollback why=\"" + written.error().line() + "\"");
}

asio::awaitable<Status> Hub::State::send_catch_up(LinkPtr link, std::vector<SharedBytes> messages) {
    for (SharedBytes& message : messages) {
        const bool has_room = co_await link->tls->wait_for_room();
        if (!has_room) co_return fail(Code::kUnavailable, "the connection ended");
        link->tls->send(std::move(message));
    }
    link->is_catching_up = false;
    if (link->sent_epoch < pushed) epoch_moved(); // what was pushed meanwhile went past it
    co_return Status();
}

asio::awaitable<Status> Hub::State::listen(LinkPtr link) {
    for (;;) {
        auto frame = co_await link->tls->read(protocol::kHubFrameLimit);
        if (!frame) co_return fail(frame.error());
        link->heard_at = parts.clock.monotonic();
        ++link->frames;
        const Status heard = co_await hear(link, std::move(*frame));
        if (!heard) {
            log_of(LogLevel::kWarn, *link->vm, "drop agent", " why=\"" + heard.error().line() + "\"");
            co_return heard;
        }
    }
}

// A failure ends the connection.
asio::awaitable<Status> Hub::State::hear(LinkPtr link, protocol::Frame frame) {
    switch (frame.type) {
        case protocol::Type::kFetch: {
            auto fetch = protocol::decode<protocol::Fetch>(frame);
            if (!fetch) co_return fail(fetch.error());
            take_fetch(link, std::move(*fetch));
            co_return Status();
        }
        case protocol::Type::kHeartbeat: {
            if (link->is_naming) co_await close_unnamed(link);
            const auto beat = protocol::decode<protocol::Heartbeat>(frame);
            if (!beat) co_return fail(beat.error());
            const std::int64_t offset = (beat->time - parts.clock.now()).value;
            const auto is_far = [](std::int64_t micros) { return std::abs(micros) > kOffsetWorthTelling; };
            if (is_far(offset) != is_far(link->clock_offset_micros)) link->is_seen_due = true;
            link->clock_offset_micros = offset;
            co_return Status();
        }
        case protocol::Type::kHubStepUp: {
            auto asked = protocol::decode<protocol::HubStepUp>(frame);
            wipe(frame.fields); // it holds a code
            if (!asked) co_return fail(asked.error());
            take_step_up(link, std::move(*asked));
            co_return Status();
        }
        case protocol::Type::kReceipt:
            if (link->is_naming) co_await close_unnamed(link);
            co_await pace(link);
            co_return take_receipt(link, frame);
        case protocol::Type::kSessionEvent: {
            auto event = protocol::decode<protocol::SessionEvent>(frame);
            if (!event) co_return fail(event.error());
            if (link->is_naming && event->phase == protocol::SessionPhase::kOpened) {
                if (link->named.size() == kMaxSessionsNamed)
                    co_return fail(Code::kTooLarge, "it names more sessions than a VM can have");
                link->named.push_back(event->session);
            }
            co_return co_await record(link, std::move(*event));
        }
        case protocol::Type::kReport:
            co_return co_await take_report(link, std::move(frame));
        case protocol::Type::kSessionEnded: {
            const auto answer = protocol::decode<protocol::SessionEnded>(frame);
            if (!answer) co_return fail(answer.error());
            co_await take_ended(link, *answer);
            co_return Status();
        }
        case protocol::Type::kRefused: {
            const auto refused = protocol::decode<protocol::Refused>(frame);
            if (!refused) co_return fail(refused.error());
            log_of(LogLevel::kError, *link->vm, "hear refusal",
                   " why=\"" + shortened(refused->message, kMaxRefusal) + "\"");
            co_return fail(Code::kRefused, "the agent refuses this broker", "its own log says more");
        }
        case protocol::Type::kUnsupported: { // an older agent: it goes without that message
            const auto unsupported = protocol::decode<protocol::Unsupported>(frame);
            const bool is_revoke =
                unsupported && unsupported->type == static_cast<std::uint8_t>(protocol::Type::kRevoke);
            if (is_revoke) board.refuse(link->vm->id);
            co_return Status();
        }
        default: {
            protocol::Unsupported answer;
            answer.type = static_cast<std::uint8_t>(frame.type);
            link->send(answer);
            co_return Status();
        }
    }
}

asio::awaitable<void> Hub::State::pace(LinkPtr link) {
    const Micros now = parts.clock.monotonic();
    if (link->events_filled_at.value == 0) link->events_filled_at = now;
    const double seconds = static_cast<double>((now - link->events_filled_at).value) / 1e6;
    link->event_tokens = std::min(static_cast<double>(settings.events_at_once),
                                  link->event_tokens + seconds * kEventsPerSecond);
    link->events_filled_at = now;
    if (link->event_tokens < 1) {
        asio::steady_timer pause(io, std::chrono::microseconds(static_cast<int>(1e6 / kEventsPerSecond)));
        co_await pause.async_wait(kAwait);
    }
    link->event_tokens = std::max(0.0, link->event_tokens - 1);
}

// A session that a VM brings back may have been revoked while that was away, so long ago that the revocation
// has ended with the last certificate and is in no catch-up: it is named by itself.
asio::awaitable<Status> Hub::State::record(LinkPtr link, protocol::SessionEvent event) {
    co_await pace(link);
    using Covering = std::optional<ledger::RevocationRow>;
    const std::uint64_t session = event.session;
    const protocol::SessionPhase phase = event.phase;
    auto write = [this, vm = link->vm, told = std::move(event)] {
        return parts.ledger.write([&](ledger::Transaction& t) -> Result<Covering> {
            LK_CHECK(ledger::record_session_event(t, *vm, told));
            if (told.phase != protocol::SessionPhase::kOpened) return Covering();
            return ledger::revocation_of_session(t, *vm, told);
        });
    };
    const auto written = co_await offload(pool, std::move(write));
    if (written && *written) {
        protocol::SessionEnd end;
        end.session = session;
        end.reason = "revoked by epoch " + std::to_string((*written)->revocation.epoch.value);
        link->send(end);
    }
    if (phase == protocol::SessionPhase::kEnded)
        tell_end(link->vm->id, session, protocol::SessionOutcome::kEnded);
    if (phase == protocol::SessionPhase::kClosed)
        tell_end(link->vm->id, session, protocol::SessionOutcome::kWasGone);
    if (!written)
        log_of(LogLevel::kError, *link->vm, "fail to record session",
               " why=\"" + written.error().line() + "\"");
    co_return Status(); // an event that cannot be written is no fault of the agent
}

// It has named the sessions that it has: others of its rows are from before it was away.
asio::awaitable<void> Hub::State::close_unnamed(LinkPtr link) {
    link->is_naming = false;
    auto write = [this, vm = link->vm->id, named = std::move(link->named)]() -> Status {
        LK_TRY(must_close, parts.ledger.read([&](ledger::Transaction& t) {
            return ledger::has_sessions_except(t, vm, named);
        }));
        if (!must_close) return {};
        return parts.ledger.write(
            [&](ledger::Transaction& t) { return ledger::close_sessions_except(t, vm, named); });
    };
    link->named.clear();
    const Status written = co_await offload(pool, std::move(write));
    if (!written)
        log_of(LogLevel::kError, *link->vm, "fail to close sessions",
               " why=\"" + written.error().line() + "\"");
}

// The VM's own report of an end came before this; of a session that it does not know there is none.
asio::awaitable<void> Hub::State::take_ended(LinkPtr link, protocol::SessionEnded answer) {
    if (answer.outcome == protocol::SessionOutcome::kWasGone) {
        auto close = [this, vm = link->vm->id, session = answer.session] {
            return parts.ledger.write([&](ledger::Transaction& t) -> Status {
                LK_TRY(row, ledger::find_session(t, session));
                if (!row || row->vm != vm) return {};
                return ledger::close_session(t, *row, "gone when it was to be ended");
            });
        };
        const Status written = co_await offload(pool, std::move(close));
        if (!written)
            log_of(LogLevel::kError, *link->vm, "fail to close session",
                   " why=\"" + written.error().line() + "\"");
    }
    tell_end(link->vm->id, answer.session, answer.outcome);
}

// A few at a time are judged; what comes meanwhile waits its turn, and beyond what an agent may have open is
// denied.
void Hub::State::take_fetch(const LinkPtr& link, protocol::Fetch fetch) {
    if (link->is_leaving) return link->send(denial_of(fetch, "this VM was removed"));
    if (link->fetches < kMaxFetchesAtOnce) {
        ++link->fetches;
        asio::co_spawn(io, answer_fetches(link, std::move(fetch)), asio::detached);
    } else if (link->waiting_fetches.size() < kMaxFetchesWaiting) {
        link->waiting_fetches.push_back(std::move(fetch));
    } else {
        link->send(denial_of(fetch, "too many requests of this VM at once"));
    }
}

// This one, then those that wait, until none is left.
asio::awaitable<void> Hub::State::answer_fetches(LinkPtr link, protocol::Fetch fetch) {
    for (;;) {
        const auto asked = std::make_shared<const protocol::Fetch>(std::move(fetch));
        const std::uint64_t judged_after = access_takings;
        auto judge = [this, vm = link->vm, asked] { return parts.issuer.grant_for(*vm, *asked); };
        const auto grant = co_await offload(fetch_pool, std::move(judge));
        if (grant) {
            send_grants(*link, {&*grant, 1}, judged_after);
        } else {
            log_of(LogLevel::kError, *link->vm, "fail to answer fetch",
                   " why=\"" + grant.error().line() + "\"");
            link->send(denial_of(*asked, "the broker cannot judge now: " + grant.error().message));
        }
        if (link->waiting_fetches.empty() || !link->tls->is_open()) break;
        fetch = std::move(link->waiting_fetches.front());
        link->waiting_fetches.pop_front();
    }
    --link->fetches;
}

} // namespace latchkey::hub
