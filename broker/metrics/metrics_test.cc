// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <chrono>
#include <string>
#include <utility>

#include "broker/metrics/process.h"
#include "broker/metrics/registry.h"
#include "broker/metrics/server.h"
#include "core/base/unique_handle.h"

namespace latchkey::metrics {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

const std::string kRequest = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";

TEST(Registry, WritesFamiliesByNameWithHelpAndType) {
    Counter logins;
    Gauge agents;
    Registry registry;
    registry.add("b_total", "Logins.", logins, {{"outcome", "accepted"}});
    registry.add("a", "Agents\nthat \\ are here.", agents);
    logins.add(3);
    agents.set(-2);
    EXPECT_EQ(registry.render(),
              "# HELP a Agents\\nthat \\\\ are here.\n# TYPE a gauge\na -2\n"
              "# HELP b_total Logins.\n# TYPE b_total counter\nb_total{outcome=\"accepted\"} 3\n");
}

TEST(Registry, WritesOneHeadForAllSamplesOfAFamily) {
    Counter good;
    Counter bad;
    Registry registry;
    registry.add("x_total", "X.", good, {{"outcome", "good"}});
    registry.add("x_total", "X.", bad, {{"outcome", "say \"bad\"\n"}});
    EXPECT_EQ(registry.render(),
              "# HELP x_total X.\n# TYPE x_total counter\n"
              "x_total{outcome=\"good\"} 0\nx_total{outcome=\"say \\\"bad\\\"\\n\"} 0\n");
}

TEST(Registry, WritesAHistogramCumulatively) {
    static constexpr std::array kBounds = {0.5, 2.0};
    Histogram took{kBounds};
    Registry registry;
    registry.add("t_seconds", "T.", took);
    for (const double value : {0.5, 1.0, 1.5, 7.0}) took.observe(value);
    EXPECT_EQ(
        registry.render(),
        "# HELP t_seconds T.\n# TYPE t_seconds histogram\n"
        "t_seconds_bucket{le=\"0.5\"} 1\nt_seconds_bucket{le=\"2\"} 3\nt_seconds_bucket{le=\"+Inf\"} 4\n"
        "t_seconds_sum 10\nt_seconds_count 4\n");
}

TEST(Registry, AsksAtEachRender) {
    double value = 1;
    Registry registry;
    registry.add_gauge("now", "Now.", [&] { return value; });
    EXPECT_THAT(registry.render(), HasSubstr("\nnow 1\n"));
    value = 2.5;
    EXPECT_THAT(registry.render(), HasSubstr("\nnow 2.5\n"));
}

TEST(Registry, KnowsTheProcess) {
    Registry registry;
    add_process(registry);
    add_build(registry, "1.2.3");
    const std::string text = registry.render();
    EXPECT_THAT(text, HasSubstr("latchkey_build_info{version=\"1.2.3\""));
    EXPECT_THAT(text, HasSubstr("\nprocess_start_time_seconds 1"));
    EXPECT_THAT(text, Not(HasSubstr("NaN")));
}

class MetricsServer : public testing::Test {
protected:
    void serve(
        Server::Settings settings, Server::Render render = [] { return std::string("x 1\n"); }) {
        settings.listen = "127.0.0.1:0";
        auto started = Server::start(std::move(render), settings);
        ASSERT_TRUE(started) << started.error().line();
        server_ = std::move(*started);
    }
    UniqueFd connect(int receive_buffer = 0) const {
        UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        if (receive_buffer != 0)
            ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
        const timeval deadline{20, 0};
        ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof deadline);
        sockaddr_in to{};
        to.sin_family = AF_INET;
        to.sin_port = htons(server_->port());
        to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        EXPECT_EQ(::connect(fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
        return fd;
    }
    // All that comes until the server closes.
    static std::string rest_of(const UniqueFd& fd) {
        std::string all;
        char piece[4096];
        for (;;) {
            const ssize_t got = ::recv(fd.get(), piece, sizeof piece, 0);
            if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return "still open";
            if (got <= 0) return all;
            all.append(piece, static_cast<std::size_t>(got));
        }
    }
    static bool send_all(const UniqueFd& fd, const std::string& request) {
        return ::send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL) ==
               static_cast<ssize_t>(request.size());
    }
    std::string ask(const std::string& request) const {
        const UniqueFd fd = connect();
        EXPECT_TRUE(send_all(fd, request));
        return rest_of(fd);
    }

    std::unique_ptr<Server> server_;
};

TEST_F(MetricsServer, AnswersGetOfItsOnePath) {
    serve({});
    const std::string answer = ask(kRequest);
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\n"));
    EXPECT_THAT(answer, HasSubstr("Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    EXPECT_THAT(answer, HasSubstr("\r\n\r\nx 1\n"));
}

TEST_F(MetricsServer, RefusesEverythingElse) {
    serve({});
    EXPECT_THAT(ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), StartsWith("HTTP/1.1 404"));
    EXPECT_THAT(ask("GET /metrics/../x HTTP/1.1\r\nHost: x\r\n\r\n"), StartsWith("HTTP/1.1 404"));
    EXPECT_THAT(ask("DELETE /metrics HTTP/1.1\r\nHost: x\r\n\r\n"), StartsWith("HTTP/1.1 405"));
    EXPECT_THAT(ask("SSH-2.0-OpenSSH_9.2\r\n\r\n"), StartsWith("HTTP/1.1 400"));
}

TEST_F(MetricsServer, TakesNoRequestWithoutEnd) {
    serve({});
    const UniqueFd fd = connect();
    const std::string request = "GET /metrics HTTP/1.1\r\nX: " + std::string(100'000, 'a');
    (void)send_all(fd, request);
    EXPECT_THAT(rest_of(fd), Not(HasSubstr(" 200 "))); // refused, or cut while it still sends
    EXPECT_THAT(ask(kRequest), HasSubstr(" 200 "));
}

TEST_F(MetricsServer, CutsWhoeverSaysNothing) {
    serve({.deadline = from_millis(200)});
    const UniqueFd silent = connect();
    EXPECT_THAT(rest_of(silent), IsEmpty());
    EXPECT_THAT(ask(kRequest), HasSubstr(" 200 "));
}

TEST_F(MetricsServer, CutsWhoeverReadsTooSlowly) {
    const std::string large(32 * 1024 * 1024, 'x'); // more than the sockets' buffers take
    bool is_first = true;                           // the server's thread alone
    serve({.connections = 1, .deadline = from_millis(500)},
          [&] { return std::exchange(is_first, false) ? large : std::string("x 1\n"); });
    const UniqueFd slow = connect(4096);
    ASSERT_TRUE(send_all(slow, kRequest));
    // Others are closed at once until its place is free again.
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    std::string answer;
    while (answer.empty() && std::chrono::steady_clock::now() < deadline) {
        const UniqueFd next = connect();
        if (send_all(next, kRequest)) answer = rest_of(next);
    }
    EXPECT_THAT(answer, HasSubstr(" 200 "));
    EXPECT_LT(rest_of(slow).size(), large.size());
}

TEST_F(MetricsServer, SaysWhatIsWrongWithItsAddress) {
    const auto nonsense = Server::start([] { return std::string(); }, {.listen = "nonsense"});
    ASSERT_FALSE(nonsense);
    EXPECT_EQ(nonsense.error().code, Code::kConfig);
    serve({});
    const auto taken = Server::start([] { return std::string(); },
                                     {.listen = "127.0.0.1:" + std::to_string(server_->port())});
    ASSERT_FALSE(taken);
    EXPECT_EQ(taken.error().code, Code::kIo);
}

} // namespace
} // namespace latchkey::metrics
