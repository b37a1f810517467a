// SPDX-License-Identifier: Apache-2.0
#pragma once
// The hub behind its public face. Everything here belongs to the hub's thread, but for the board and what
// says otherwise. Files: hub.cc (threads, public calls), accept.cc (connections and the tick), serve.cc (one
// agent's conversation), meet.cc (who comes back), step_up.cc (sudo), fanout.cc (what goes to all),
// prefetch.cc (and to some), receipts.cc and reports.cc (what comes back), others.cc (heartbeats, and other
// brokers on the same ledger). Include it in .cc files only.

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "broker/hub/admission.h"
#include "broker/hub/board.h"
#include "broker/hub/catch_up.h"
#include "broker/hub/end_waits.h"
#include "broker/hub/gathered.h"
#include "broker/hub/hub.h"
#include "broker/hub/hub_figures.h"
#include "broker/hub/link.h"
#include "broker/hub/meet.h"
#include "broker/issue/deny_log.h"
#include "broker/ledger/brokers.h"

namespace latchkey::hub {

inline constexpr unsigned kStepUpWorkers = 4;
inline constexpr unsigned kReceiptWriters = 2;
inline constexpr unsigned kVitalWorkers = kReceiptWriters + 1; // and one for what goes to all
inline constexpr double kBurstShare = 8;                       // an eighth of a second's handshakes at once

using SslContextHandle = UniqueHandle<SSL_CTX, SSL_CTX_free>;

struct Hub::State {
    State(Parts given, Settings chosen)
        : parts(std::move(given)),
          settings(std::move(chosen)),
          io(1),
          pool(settings.workers),
          fetch_pool(settings.workers),
          vital_pool(kVitalWorkers),
          step_up_pool(kStepUpWorkers),
          look_pool(1),
          acceptor(io),
          tick(io),
          arrivals(io, pool, [this](const std::vector<Newcomer>& newcomers) { return meet(newcomers); }),
          handshakes(static_cast<double>(settings.handshakes_per_second),
                     std::max(1.0, static_cast<double>(settings.handshakes_per_second) / kBurstShare)) {}

    // hub.cc
    Status open(); // before the thread starts
    void run();
    void stop(); // any thread but the hub's
    void log(LogLevel level, const std::string& line) const {
        if (parts.log) parts.log(level, line);
    }
    // A loop that the hub cannot do without: an exception out of it (memory is out) ends the broker, whose
    // restart somebody sees.
    void spawn_vital(asio::awaitable<void> loop, const char* name);
    // "what vm=NAME more", where that VM has not made us write too much of late. True where it was written.
    bool log_of(LogLevel level, const ledger::Vm& vm, const std::string& what, const std::string& more);

    // accept.cc
    asio::awaitable<void> accept();
    bool has_room(const std::string& group);  // for one more connection from there
    asio::awaitable<void> turn();             // until strangers are few enough, and one more handshake is due
    asio::awaitable<void> hold(LinkPtr link); // a connection from its start to its end
    asio::awaitable<void> keep_time();
    void note_seen();
    void look_at_queues(); // figures.cc

    // serve.cc
    asio::awaitable<Status> converse(LinkPtr link);
    asio::awaitable<Result<protocol::Frame>> first_words(LinkPtr link, keys::RawEd25519 key,
                                                         Result<protocol::Frame> frame);
    asio::awaitable<Result<ledger::Vm>> join(LinkPtr link, protocol::Frame frame, keys::RawEd25519 key);
    asio::awaitable<Status> welcome(LinkPtr link, keys::RawEd25519 key, protocol::Hello hello);
    asio::awaitable<Status> send_catch_up(LinkPtr link, std::vector<SharedBytes> messages);
    void record_rollback(const ledger::Vm& vm, const Error& why, Epoch theirs);
    void record_rollback_event(const ledger::AuditEvent& event); // pool threads
    asio::awaitable<Status> listen(LinkPtr link);
    asio::awaitable<Status> hear(LinkPtr link, protocol::Frame frame);
    asio::awaitable<Status> record(LinkPtr link, protocol::SessionEvent event);
    asio::awaitable<void> pace(LinkPtr link); // before anything that it makes us write
    asio::awaitable<void> close_unnamed(LinkPtr link);
    asio::awaitable<void> take_ended(LinkPtr link, protocol::SessionEnded answer);
    void take_fetch(const LinkPtr& link, protocol::Fetch fetch);
    asio::awaitable<void> answer_fetches(LinkPtr link, protocol::Fetch fetch);
    asio::awaitable<Status> refuse(LinkPtr link, Error error); // tells it, then waits for it to leave

    // meet.cc: pool threads
    Result<std::optional<ledger::Vm>> find_vm(const keys::RawEd25519& key);
    Result<Standing> read_standing(const ledger::Vm& vm, const Missed& missed);
    std::vector<Result<Met>> meet(const std::vector<Newcomer>& newcomers);

    // step_up.cc
    void take_step_up(const LinkPtr& link, protocol::HubStepUp asked);
    asio::awaitable<void> answer_step_up(LinkPtr link, std::shared_ptr<const protocol::HubStepUp> asked);

    // fanout.cc
    void epoch_moved();
    void policy_changed();
    void access_taken();
    void send_grants(Link& link, std::span<const protocol::Grant> grants, std::uint64_t judged_after) const;
    asio::awaitable<void> push_revocations();
    asio::awaitable<void> push_trust();
    void tell(const CatchUp& news);
    void let_go(const LinkPtr& link);
    Result<TrustRoots> trust_roots(); // pool threads: asks the signer

    // prefetch.cc
    struct Ahead {
        ledger::User user;
        ledger::Key key;
        ledger::Unlock unlock;
    };
    void want_prefetch(Ahead ahead);
    asio::awaitable<void> work_off_prefetches();
    asio::awaitable<void> push_ahead(Ahead ahead);

    // reports.cc
    asio::awaitable<Status> take_report(LinkPtr link, protocol::Frame frame);
    void note(const ledger::Vm& vm, const std::string& kind, const std::string& text); // as its own report
    static Bytes instance_in(const protocol::Hello& hello);
    asio::awaitable<bool> is_clone(LinkPtr link, Bytes instance);
    asio::awaitable<Status> refuse_clone(LinkPtr link);

    // receipts.cc
    Status take_receipt(const LinkPtr& link, const protocol::Frame& frame);
    void start_writing_receipts();
    asio::awaitable<void> gather_receipts();
    asio::awaitable<void> write_receipts();
    Result<ReceiptCount> count_receipts(Epoch epoch); // any thread
    void look(ReceiptCount& count) const;             // any thread

    // others.cc
    enum class Place : std::uint8_t { kGone = 1, kHere, kHereWithSudo };
    enum class Looks : std::uint8_t { kNow = 1, kWhenDue };
    void beat_when_due(Micros now);
    asio::awaitable<void> look_and_beat();
    void send_due_beat();
    // What was told is no longer in the ledger: until it is restarted this broker serves no agent.
    void see_set_back(Epoch told, Epoch found);
    static const Error& set_back_error();
    void take_placed(const std::vector<ledger::PlacedVm>& placed);
    void look_for_clone(const LinkPtr& link);
    static Place place_of(const Link& link);
    asio::awaitable<void> write_places();
    Result<std::vector<ledger::PlacedVm>> read_placed(ledger::Transaction& t) const;
    void look_elsewhere(Looks looks); // any thread
    void end_for_another(const ledger::SessionEndRow& end);
    void tell_end(VmId vm, std::uint64_t session, protocol::SessionOutcome outcome);
    void lose_ends(VmId vm);
    Result<protocol::SessionOutcome> end_elsewhere(VmId vm, std::uint64_t session, std::string_view reason,
                                                   Micros deadline); // any thread
    void forget_run();                                               // after the threads have ended

    // What the ledger's writer thread rings; it outlives us in the ledger, so we take it down when we stop.
    struct Bell {
        explicit Bell(State* whom) : state(whom) {}
        void ring(void (State::*what)());
        void ring_epoch(Epoch committed);
        void take_down();
        std::mutex mutex;
        State* state;
    };
    const std::shared_ptr<Bell> bell = std::make_shared<Bell>(this);

    const Parts parts;
    const Settings settings;
    Board board;   // any thread
    EndWaits ends; // any thread
    HubFigures figures;
    issue::DenyLog lines_of_vms; // any thread
    issue::DenyLog sudo_denials; // any thread

    asio::io_context io;
    asio::thread_pool pool;
    asio::thread_pool fetch_pool;   // what may wait for the signer, which may hang
    asio::thread_pool vital_pool;   // revocations and receipts: they wait for nothing else
    asio::thread_pool step_up_pool; // of its own: a factor's plugin may take its time
    asio::thread_pool look_pool;    // one thread: heartbeats wait for nobody's fetch
    asio::ip::tcp::acceptor acceptor;
    asio::steady_timer tick;
    Gathered<Newcomer, Result<Met>> arrivals;
    TokenBucket handshakes;
    SslContextHandle tls;
    std::thread thread;
    std::uint16_t port = 0;
    bool is_stopped = false; // hub.cc's own, of the thread that stops

    std::unordered_set<LinkPtr> links;                 // every connection
    std::unordered_set<std::uint64_t> dropped;         // VMs that read too slowly: told at their next Welcome
    std::unordered_map<std::uint64_t, LinkPtr> agents; // by VM: those that are welcome
    std::unordered_map<std::string, std::size_t> waiting; // connections not yet welcome, by address_group
    std::size_t waiting_count = 0;
    std::optional<Micros> said_full_at; // monotonic

    Epoch pushed;             // all agents that are welcome and caught up have been told up to here
    bool is_set_back = false; // the ledger, below that: for good
    bool is_pushing = false;
    bool must_push_again = false;
    std::uint64_t access_takings = 0; // how often access_taken() was rung
    std::uint64_t policy_changes = 0; // and policy_changed()
    bool is_trusting = false;
    bool must_trust_again = false;

    const ledger::BrokerRun own_run{ledger::new_run(), settings.address};
    struct DueBeat {
        Epoch epoch; // goes out once all are told up to here
        Micros seen_at;
    };
    std::optional<DueBeat> due_beat;
    Micros next_beat; // monotonic
    bool is_looking = false;
    bool is_blind = false;                               // the last look at the ledger failed
    std::unordered_map<std::uint64_t, Place> places_due; // by VM: not yet in the ledger
    bool is_placing = false;
    std::vector<ledger::SessionEndRow> asked_ends; // by other brokers, not yet answered
    std::mutex looking;                            // any thread: of the next line
    Micros look_again_at;                          // monotonic

    std::unordered_map<std::uint64_t, Ahead> prefetches; // by key
    std::deque<std::uint64_t> prefetch_order;
    bool is_prefetching = false;

    struct Pending {
        LinkPtr link;
        protocol::Receipt receipt;
        unsigned tries = 0; // to write it
    };
    std::deque<Pending> receipts; // not yet verified and written
    unsigned receipt_writers = 0;
    bool are_receipts_gathered = false; // those that nobody waits for
};

} // namespace latchkey::hub
