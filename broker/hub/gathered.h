// SPDX-License-Identifier: Apache-2.0
#pragma once
// Questions of many that go to the pool together: thousands of agents that come back share transactions and
// wake-ups. The first one goes at once; who comes soon after waits for the others of that while, at most
// kEvery, and not at all once all have come that are expected. Jobs do not wait for each other. Asked and
// answered on the loop's thread; the job runs on the pool, gives one answer for each question in their order,
// and what it throws becomes kInternal for all of them. Include in .cc files only.

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "broker/hub/offload.h"

namespace latchkey::hub {

template <class Question, class Answer> // a Result
class Gathered {
public:
    using Questions = std::vector<Question>;
    using Answers = std::vector<Answer>;
    using Job = std::function<Answers(const Questions&)>;

    Gathered(boost::asio::io_context& io, boost::asio::thread_pool& pool, Job job)
        : io_(io), pool_(pool), job_(std::move(job)), next_(io) {}

    // `expected`: so many may be asking now, this one and those whose answer is on its way included.
    boost::asio::awaitable<Answer> ask(Question question, std::size_t expected) {
        auto start = [this, expected](auto handler, Question asked) {
            batch_.questions.push_back(std::move(asked));
            batch_.waiting.push_back(std::make_unique<Handler<decltype(handler)>>(std::move(handler)));
            if (batch_.questions.size() == kMost || batch_.questions.size() + asked_ >= expected) return go();
            if (batch_.questions.size() > 1) return; // the first one has seen to it
            next_.expires_at(last_ + kEvery);        // past: now
            next_.async_wait([this](const boost::system::error_code& error) {
                if (!error && !batch_.questions.empty()) go();
            });
        };
        co_return co_await boost::asio::async_initiate<const boost::asio::use_awaitable_t<>, void(Answer)>(
            std::move(start), boost::asio::use_awaitable, std::move(question));
    }

private:
    static constexpr std::chrono::milliseconds kEvery{20};
    static constexpr std::size_t kMost = 64; // in one job

    struct Waiting {
        virtual ~Waiting() = default;
        virtual void answer(Answer answer) = 0;
    };
    template <class Handle>
    struct Handler : Waiting {
        explicit Handler(Handle whom) : handle(std::move(whom)) {}
        void answer(Answer answer) override { std::move(handle)(std::move(answer)); }
        Handle handle;
    };
    struct Batch {
        Questions questions;
        std::vector<std::unique_ptr<Waiting>> waiting;
        Answers answers;
    };

    void go() {
        last_ = std::chrono::steady_clock::now();
        next_.cancel();
        asked_ += batch_.questions.size();
        boost::asio::post(pool_, [this, batch = std::exchange(batch_, {})]() mutable {
            auto run = [&]() -> Result<Answers> { return job_(batch.questions); };
            auto answers = run_guarded(run);
            if (answers) batch.answers = std::move(*answers);
            while (batch.answers.size() < batch.questions.size())
                batch.answers.push_back(fail(Code::kInternal, "the hub's work threw an exception"));
            boost::asio::post(io_, [this, batch = std::move(batch)]() mutable {
                asked_ -= batch.questions.size();
                for (std::size_t i = 0; i < batch.waiting.size(); ++i)
                    batch.waiting[i]->answer(std::move(batch.answers[i]));
            });
        });
    }

    boost::asio::io_context& io_;
    boost::asio::thread_pool& pool_;
    const Job job_;
    boost::asio::steady_timer next_;
    std::chrono::steady_clock::time_point last_;
    Batch batch_;
    std::size_t asked_ = 0; // on the pool
};

} // namespace latchkey::hub
