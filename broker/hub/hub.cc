// SPDX-License-Identifier: Apache-2.0
#include "broker/hub/hub.h"

#include <openssl/err.h>
#include <pthread.h>
#include <signal.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <exception>
#include <latch>

#include "broker/hub/state.h"
#include "broker/ledger/revocations.h"
#include "broker/listen/listen_address.h"

namespace latchkey::hub {
namespace {

constexpr Micros kTellingFirst = from_seconds(2); // those who count answers wait so long at most

void name_thread(const char* name) {
    ::pthread_setname_np(::pthread_self(), name);
}

void name_threads(asio::thread_pool& pool, unsigned count, const char* name) {
    const auto all_here = std::make_shared<std::latch>(count); // one name each, not one thread all
    for (unsigned i = 0; i < count; ++i) {
        asio::post(pool, [all_here, name] {
            name_thread(name);
            all_here->arrive_and_wait();
        });
    }
    all_here->wait(); // a pool that stops before that would never end
}

// While it lives, threads start with every signal blocked: signals are the main thread's, and a write to a
// closed socket is to be an error.
class SignalsBlocked {
public:
    SignalsBlocked() {
        sigset_t all;
        ::sigfillset(&all);
        ::pthread_sigmask(SIG_SETMASK, &all, &before_);
    }
    ~SignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
    SignalsBlocked(const SignalsBlocked&) = delete;
    SignalsBlocked& operator=(const SignalsBlocked&) = delete;

private:
    sigset_t before_{};
};

} // namespace

void Hub::State::Bell::ring(void (State::*what)()) {
    const std::lock_guard lock(mutex);
    if (state != nullptr) asio::post(state->io, [state = state, what] { (state->*what)(); });
}

void Hub::State::Bell::ring_epoch(Epoch committed) {
    const std::lock_guard lock(mutex);
    if (state == nullptr) return;
    state->board.commit(committed); // before who made it goes on
    asio::post(state->io, [state = state] { state->epoch_moved(); });
}

void Hub::State::Bell::take_down() {
    const std::lock_guard lock(mutex);
    state = nullptr;
}

bool Hub::State::log_of(LogLevel level, const ledger::Vm& vm, const std::string& what,
                        const std::string& more) {
    const auto left_out = lines_of_vms.admit(vm.id, parts.clock.monotonic());
    if (!left_out) return false;
    log(level, what + " vm=" + vm.name.str() + more +
                   (*left_out == 0 ? "" : " lines_left_out=" + std::to_string(*left_out)));
    return true;
}

void Hub::State::spawn_vital(asio::awaitable<void> loop, const char* name) {
    asio::co_spawn(io, std::move(loop), [this, name](const std::exception_ptr& problem) {
        if (!problem) return;
        log(LogLevel::kError, std::string("fail loop=") + name + " why=exception; restarting");
        std::terminate();
    });
}

Status Hub::State::open() {
    tls.reset(SSL_CTX_new(TLS_server_method()));
    if (!tls) {
        ERR_clear_error();
        return fail(Code::kInternal, "OpenSSL makes no TLS context");
    }
    LK_CHECK(keys::configure_tls(tls.get(), keys::TlsSide::kServer, parts.identity));
    LK_TRY(endpoint, parse_listen_address("hub.listen", settings.listen, "0.0.0.0:7443 or [::]:7443"));
    boost::system::error_code error;
    acceptor.open(endpoint.protocol(), error);
    if (!error) acceptor.set_option(asio::socket_base::reuse_address(true), error);
    if (!error) acceptor.bind(endpoint, error);
    if (!error) acceptor.listen(backlog_for(settings.handshakes_per_second), error);
    if (error) {
        return fail(Code::kIo, "the hub cannot listen on " + settings.listen + ": " + error.message(),
                    "change hub.listen, or end what uses that port");
    }
    port = acceptor.local_endpoint(error).port();
    LK_TRY(epoch, parts.ledger.read([](ledger::Transaction& t) { return ledger::current_epoch(t); }));
    pushed = epoch;
    return {};
}

void Hub::State::run() {
    spawn_vital(accept(), "accept");
    spawn_vital(keep_time(), "keep_time");
    name_threads(pool, settings.workers, "lk-hub-work");
    name_threads(fetch_pool, settings.workers, "lk-hub-fetch");
    name_threads(vital_pool, kVitalWorkers, "lk-hub-vital");
    name_threads(step_up_pool, kStepUpWorkers, "lk-hub-step");
    name_threads(look_pool, 1, "lk-hub-look");
    parts.ledger.on_epoch([bell = bell](Epoch epoch) { bell->ring_epoch(epoch); });
    parts.ledger.on_policy_change([bell = bell] { bell->ring(&State::policy_changed); });
    parts.issuer.on_new_ca_keys([bell = bell] { bell->ring(&State::policy_changed); });
    parts.ledger.on_access_taken([bell = bell] { bell->ring(&State::access_taken); });
    asio::post(io, [this] { epoch_moved(); }); // what was committed since open()
    thread = std::thread([this] {
        name_thread("lk-hub");
        io.run();
    });
}

void Hub::State::stop() {
    if (is_stopped) return;
    is_stopped = true;
    bell->take_down();
    board.close();
    ends.close();
    asio::post(io, [this] {
        boost::system::error_code ignored;
        acceptor.close(ignored);
        for (const LinkPtr& link : links) link->tls->close();
        io.stop();
    });
    if (thread.joinable()) thread.join();
    pool.stop();
    fetch_pool.stop();
    vital_pool.stop();
    step_up_pool.stop();
    look_pool.stop();
    pool.join();
    fetch_pool.join();
    vital_pool.join();
    step_up_pool.join();
    look_pool.join();
    forget_run();
}

Hub::Hub(std::unique_ptr<State> state) : state_(std::move(state)) {}

Hub::~Hub() {
    stop();
}

void Hub::stop() {
    state_->stop();
}

Result<std::unique_ptr<Hub>> Hub::start(Parts parts, Settings settings) {
    const SignalsBlocked blocked;
    auto state = std::make_unique<State>(std::move(parts), std::move(settings));
    LK_CHECK(state->open());
    state->run();
    return std::unique_ptr<Hub>(new Hub(std::move(state)));
}

std::uint16_t Hub::port() const {
    return state_->port;
}

void Hub::prefetch(const ledger::User& user, const ledger::Key& key, const ledger::Unlock& unlock) {
    State* state = state_.get();
    asio::post(state->io, [state, user, key, unlock] { state->want_prefetch({user, key, unlock}); });
}

Result<ReceiptCount> Hub::receipts(Epoch epoch) {
    state_->board.wait_until_told(kTellingFirst);
    state_->look_elsewhere(State::Looks::kNow);
    return state_->count_receipts(epoch);
}

void Hub::look(ReceiptCount& count) const {
    state_->look(count);
}

bool Hub::wait_receipts(Epoch epoch, Micros deadline_monotonic) {
    if (state_->board.waits_for_others(epoch)) state_->look_elsewhere(State::Looks::kWhenDue);
    return state_->board.wait_for_all(epoch, deadline_monotonic - state_->parts.clock.monotonic());
}

Result<protocol::SessionOutcome> Hub::end_session(VmId vm, std::uint64_t session, std::string_view reason,
                                                  Micros deadline_monotonic) {
    State* state = state_.get();
    const bool is_here = state->board.is_connected(vm);
    if (!is_here) state->look_elsewhere(State::Looks::kNow);
    if (!is_here && connected(vm))
        return state->end_elsewhere(vm, session, reason, deadline_monotonic + state->settings.heartbeat);
    if (!is_here) {
        return fail(Code::kUnavailable, "the VM is not connected",
                    "try again when it is back, or revoke the certificate: that reaches it then");
    }
    const auto ticket = state->ends.begin(vm, session);
    protocol::SessionEnd message;
    message.session = session;
    message.reason = reason;
    asio::post(state->io, [state, vm, message = std::move(message)] {
        const auto found = state->agents.find(vm.value);
        if (found == state->agents.end()) return state->lose_ends(vm);
        found->second->send(message);
    });
    return state->ends.wait(ticket, deadline_monotonic - state->parts.clock.monotonic());
}

Micros Hub::last_heard(VmId vm) const {
    return state_->board.entry(vm).last_heard;
}

bool Hub::connected(VmId vm) const {
    return state_->board.entry(vm).is_reachable();
}

bool Hub::has_step_up(VmId vm) const {
    return state_->board.has_step_up(vm);
}

std::size_t Hub::connected_count() const {
    return state_->board.connected_count();
}

} // namespace latchkey::hub
