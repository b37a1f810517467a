// SPDX-License-Identifier: Apache-2.0
#include "agent/bus/bus_service.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>
#include <variant>

#include "agent/bus/caller.h"
#include "agent/log/log.h"
#include "agent/sessions/bus_probe.h"
#include "core/base/unique_handle.h"

namespace latchkey::agent::bus {
namespace {

struct TrustChanged {};
using News = std::variant<Revoked, TrustChanged>;

std::chrono::microseconds to_chrono(Micros span) {
    return std::chrono::microseconds(span.value);
}

} // namespace

struct BusService::State : std::enable_shared_from_this<BusService::State> {
    State(BusDesk& the_desk, Post the_post, std::string the_group)
        : desk(the_desk), post(std::move(the_post)), group(std::move(the_group)) {}

    // lk-bus:
    void run();
    Error serve(); // from connecting to the end of that connection
    Status deliver(BusObject& object);
    Status wait_for_work(BusObject& object);
    Answers answers();
    void say_trouble(const Error& why);
    void say_good();
    template <class Answer>
    Result<Answer> ask(std::function<Answer(BusDesk&)> question);

    // Any thread:
    void add_news(News entry) {
        {
            const std::lock_guard lock(mutex);
            news.push_back(std::move(entry));
            if (news.size() > kMaxNews) news.pop_front();
        }
        wake_thread();
    }
    bool is_stopping() {
        const std::lock_guard lock(mutex);
        return stopping;
    }
    void wake_thread() const {
        const std::uint64_t one = 1;
        (void)!::write(wake.get(), &one, sizeof one); // full: it is awake already
    }
    void tell_desk(std::string trouble) {
        post([self = shared_from_this(), trouble = std::move(trouble)] {
            if (!self->is_stopping()) self->desk.note_bus_trouble(trouble);
        });
    }

    BusDesk& desk; // the loop's thread, until stop()
    const Post post;
    const std::string group;
    UniqueFd wake{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};

    std::mutex mutex;
    std::condition_variable changed; // an answer is here, a bus, or stop
    bool stopping = false;
    bool is_missing = false; // the bus, and lk-bus sleeps until look() finds it
    View view;
    std::deque<News> news;

    // lk-bus only:
    bool is_up = false;
    bool was_up = false;
    std::string said; // the last trouble: once, not at each attempt
};

// kTimedOut where the loop does not come to it in time; then it is not done later either.
template <class Answer>
Result<Answer> BusService::State::ask(std::function<Answer(BusDesk&)> question) {
    struct Slot {
        std::optional<Answer> answer;
        bool is_given_up = false;
    };
    auto slot = std::make_shared<Slot>();
    post([self = shared_from_this(), slot, question = std::move(question)] {
        {
            const std::lock_guard lock(self->mutex);
            if (self->stopping || slot->is_given_up) return;
        }
        Answer answer = question(self->desk);
        const std::lock_guard lock(self->mutex);
        slot->answer.emplace(std::move(answer));
        self->changed.notify_all();
    });
    std::unique_lock lock(mutex);
    changed.wait_for(lock, to_chrono(kAnswerTime), [&] { return slot->answer || stopping; });
    if (slot->answer) return *std::move(slot->answer);
    slot->is_given_up = true;
    return fail(Code::kTimedOut, "the agent is busy", "ask again");
}

Answers BusService::State::answers() {
    return {.check = [this](uid_t caller) { return bus::check_caller(caller, group); },
            .list_sessions =
                [this] {
                    return ask<std::vector<protocol::LiveSession>>([](BusDesk& d) { return d.sessions(); });
                },
            .resync = [this]() -> Status {
                LK_TRY(done, ask<Status>([](BusDesk& d) { return d.resync(); }));
                return done;
            },
            .explain =
                [this](const Login& login, const Fingerprint& key) {
                    return ask<std::vector<std::string>>(
                        [login, key](BusDesk& d) { return d.explain(login, key); });
                }};
}

void BusService::State::run() {
    ::pthread_setname_np(::pthread_self(), "lk-bus");
    Micros pause = kFirstPause;
    while (!is_stopping()) {
        const Error why = serve();
        if (is_stopping()) return;
        say_trouble(why);
        if (std::exchange(is_up, false)) pause = kFirstPause;
        const bool is_there = find_system_bus().has_value();
        std::unique_lock lock(mutex);
        is_missing = !is_there;
        if (is_missing) {
            changed.wait(lock, [this] { return stopping || !is_missing; });
            pause = kFirstPause;
            continue;
        }
        changed.wait_for(lock, to_chrono(pause), [this] { return stopping; });
        pause = std::min(Micros{pause.value * 2}, kLongestPause);
    }
}

Error BusService::State::serve() {
    View shown;
    {
        const std::lock_guard lock(mutex);
        shown = view;
        news.clear(); // nobody could have been listening
    }
    if (const auto there = find_system_bus(); !there) return there.error();
    auto object = BusObject::open(answers(), shown);
    if (!object) return object.error();
    say_good();
    while (!is_stopping()) {
        // First, so that who asks now is shown what was published without waking this thread.
        if (const auto told = deliver(**object); !told) return told.error();
        const auto more = (*object)->process();
        if (!more) return more.error();
        if (*more) continue;
        if (const auto waited = wait_for_work(**object); !waited) return waited.error();
    }
    return {};
}

Status BusService::State::deliver(BusObject& object) {
    View now;
    std::deque<News> due;
    {
        const std::lock_guard lock(mutex);
        now = view;
        due.swap(news);
    }
    LK_CHECK(object.show(now));
    for (const News& entry : due) {
        const auto* revoked = std::get_if<Revoked>(&entry);
        LK_CHECK(revoked != nullptr ? object.tell(*revoked) : object.tell_trust_changed());
    }
    return {};
}

Status BusService::State::wait_for_work(BusObject& object) {
    LK_TRY(wish, object.poll_wish());
    std::array<pollfd, 3> waits = {pollfd{wake.get(), POLLIN, 0}, pollfd{wish.fd, wish.events, 0},
                                   pollfd{wish.event_fd, POLLIN, 0}};
    if (::poll(waits.data(), waits.size(), wish.timeout_millis) < 0 && errno != EINTR)
        return fail(Code::kIo, "D-Bus: cannot wait for the bus");
    std::uint64_t count = 0;
    if ((waits[0].revents & POLLIN) != 0) (void)!::read(wake.get(), &count, sizeof count);
    return {};
}

void BusService::State::say_trouble(const Error& why) {
    // A container without a system bus is as it should be, unless there was one a moment ago.
    const bool has_no_bus = why.code == Code::kNotFound && !was_up;
    std::string line = why.line();
    if (std::exchange(said, line) == line) return;
    if (has_no_bus) {
        log_info("miss system bus why=" + line);
    } else {
        log_warn("lose system bus why=" + line);
    }
    tell_desk(has_no_bus ? std::string() : line);
}

void BusService::State::say_good() {
    is_up = was_up = true;
    said.clear();
    log_info(std::string("take bus name=") + kBusName);
    tell_desk({});
}

BusService::BusService(BusDesk& desk, Post post, std::string group)
    : state_(std::make_shared<State>(desk, std::move(post), std::move(group))) {}

BusService::~BusService() {
    stop();
}

void BusService::start() {
    thread_ = std::thread([state = state_] { state->run(); });
}

void BusService::stop() {
    {
        const std::lock_guard lock(state_->mutex);
        state_->stopping = true;
    }
    state_->changed.notify_all();
    state_->wake_thread();
    if (thread_.joinable()) thread_.join();
}

void BusService::look() {
    {
        const std::lock_guard lock(state_->mutex);
        if (!state_->is_missing) return;
    }
    if (!find_system_bus()) return;
    {
        const std::lock_guard lock(state_->mutex);
        state_->is_missing = false;
    }
    state_->changed.notify_all();
}

void BusService::publish(const View& view) {
    {
        const std::lock_guard lock(state_->mutex);
        const bool is_quiet = state_->view.tells_the_same_as(view);
        state_->view = view;
        if (is_quiet) return; // at each heartbeat
    }
    state_->wake_thread();
}

void BusService::tell(Revoked revoked) {
    state_->add_news(std::move(revoked));
}

void BusService::tell_trust_changed() {
    state_->add_news(TrustChanged{});
}

} // namespace latchkey::agent::bus
