// SPDX-License-Identifier: Apache-2.0
#include "broker/metrics/server.h"

#include <pthread.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <chrono>
#include <thread>
#include <utility>

#include "broker/listen/listen_address.h"
#include "broker/metrics/registry.h"

namespace latchkey::metrics {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using boost::system::error_code;

constexpr auto kAwait = asio::as_tuple(asio::use_awaitable);
constexpr std::size_t kMaxRequest = 4096;

http::response<http::string_body> answer_to(const http::request<http::empty_body>& request, error_code fault,
                                            const Server::Render& render) {
    http::response<http::string_body> answer;
    answer.version(11);
    answer.keep_alive(false);
    answer.set(http::field::content_type, "text/plain; charset=utf-8");
    const bool is_too_large = fault == http::error::header_limit || fault == http::error::body_limit ||
                              fault == http::error::buffer_overflow;
    if (fault) {
        answer.result(is_too_large ? http::status::request_header_fields_too_large
                                   : http::status::bad_request);
        answer.body() = "This is no request that we take: GET /metrics\n";
    } else if (request.target() != "/metrics") {
        answer.result(http::status::not_found);
        answer.body() = "The figures are at /metrics\n";
    } else if (request.method() != http::verb::get) {
        answer.result(http::status::method_not_allowed);
        answer.set(http::field::allow, "GET");
        answer.body() = "Only GET\n";
    } else {
        answer.result(http::status::ok);
        answer.set(http::field::content_type, {kContentType.data(), kContentType.size()});
        answer.body() = render();
    }
    answer.prepare_payload();
    return answer;
}

} // namespace

struct Server::State {
    State(Render figures, Settings chosen)
        : render(std::move(figures)), settings(std::move(chosen)), io(1), acceptor(io) {}

    Status open() {
        LK_TRY(endpoint, parse_listen_address("metrics.listen", settings.listen, "127.0.0.1:9464"));
        error_code error;
        acceptor.open(endpoint.protocol(), error);
        if (!error) acceptor.set_option(asio::socket_base::reuse_address(true), error);
        if (!error) acceptor.bind(endpoint, error);
        if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
        if (error)
            return fail(Code::kIo, "cannot listen on " + settings.listen + " for metrics: " + error.message(),
                        "choose another metrics.listen");
        port = acceptor.local_endpoint(error).port();
        return {};
    }

    void run() {
        pthread_setname_np(pthread_self(), "lk-metrics");
        while (!io.stopped()) {
            try {
                io.run();
            } catch (...) { // out of memory: that connection is gone, the next may fare better
            }
        }
    }

    asio::awaitable<void> accept() {
        asio::steady_timer pause(io);
        while (acceptor.is_open()) {
            bool is_taken = false;
            try {
                is_taken = co_await accept_one();
            } catch (...) { // out of memory: the next may fare better
            }
            if (is_taken) continue;
            pause.expires_after(std::chrono::milliseconds(100));
            co_await pause.async_wait(kAwait);
        }
    }

    asio::awaitable<bool> accept_one() {
        auto [error, socket] = co_await acceptor.async_accept(kAwait);
        if (error) co_return false; // no descriptors left, or the peer gave up
        if (open_connections >= settings.connections) co_return true; // closed by its destructor
        asio::co_spawn(io, serve(std::move(socket)), asio::detached);
        co_return true;
    }

    asio::awaitable<void> serve(asio::ip::tcp::socket socket) {
        const Place place(open_connections);
        beast::tcp_stream stream(std::move(socket));
        stream.expires_after(std::chrono::microseconds(settings.deadline.value)); // for all of it
        beast::flat_buffer buffer(kMaxRequest);
        http::request_parser<http::empty_body> parser;
        parser.header_limit(kMaxRequest);
        parser.body_limit(0);
        const auto [fault, taken] = co_await http::async_read(stream, buffer, parser, kAwait);
        // Of what was sent: the others have nobody left who reads an answer.
        const bool is_gone = fault == http::error::end_of_stream || fault == http::error::partial_message;
        if (is_gone || (fault && fault.category() != http::make_error_code(http::error{}).category()))
            co_return;
        auto answer = answer_to(parser.get(), fault, render);
        co_await http::async_write(stream, answer, kAwait);
        error_code ignored;
        stream.socket().shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
    }

    struct Place {
        explicit Place(std::size_t& all) : count(all) { ++count; }
        ~Place() { --count; }
        Place(const Place&) = delete;
        Place& operator=(const Place&) = delete;
        std::size_t& count;
    };

    const Render render;
    const Settings settings;
    std::uint16_t port = 0;
    std::size_t open_connections = 0; // the thread's; before io, whose end ends them
    asio::io_context io;
    asio::ip::tcp::acceptor acceptor;
    std::thread thread;
};

Server::Server(std::unique_ptr<State> state) : state_(std::move(state)) {}

Result<std::unique_ptr<Server>> Server::start(Render render, Settings settings) {
    auto state = std::make_unique<State>(std::move(render), std::move(settings));
    LK_CHECK(state->open());
    State* const raw = state.get();
    asio::co_spawn(raw->io, raw->accept(), asio::detached);
    raw->thread = std::thread([raw] { raw->run(); });
    return std::unique_ptr<Server>(new Server(std::move(state)));
}

Server::~Server() {
    state_->io.stop();
    if (state_->thread.joinable()) state_->thread.join();
}

std::uint16_t Server::port() const {
    return state_->port;
}

} // namespace latchkey::metrics
