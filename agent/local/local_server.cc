// SPDX-License-Identifier: Apache-2.0
#include "agent/local/local_server.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>

#include "agent/log/log.h"

namespace latchkey::agent {
namespace {

namespace asio = boost::asio;
using asio::local::stream_protocol;

constexpr auto kAwait = asio::as_tuple(asio::use_awaitable);
constexpr Micros kPauseAfterFailure = from_millis(100); // out of descriptors: wait for some to be freed

// One asker, from accept to close. It lives as long as its reader, its timer or its reply does.
struct Connection : std::enable_shared_from_this<Connection> {
    Connection(stream_protocol::socket accepted, std::shared_ptr<std::size_t> the_count)
        : socket(std::move(accepted)), timer(socket.get_executor()), count(std::move(the_count)) {
        ++*count;
    }
    ~Connection() { --*count; }
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    void close() {
        boost::system::error_code ignored;
        timer.cancel();
        socket.close(ignored);
    }
    void limit_time(Micros limit) {
        timer.expires_after(std::chrono::microseconds(limit.value));
        timer.async_wait([self = shared_from_this()](const boost::system::error_code& error) {
            if (!error) self->close();
        });
    }
    asio::awaitable<Result<protocol::Frame>> read();
    void reply(Bytes bytes) {
        answer = std::move(bytes);
        asio::async_write(
            socket, asio::buffer(answer),
            [self = shared_from_this()](const boost::system::error_code&, std::size_t) { self->close(); });
    }

    stream_protocol::socket socket;
    asio::steady_timer timer;
    std::shared_ptr<std::size_t> count; // of all that are open
    Bytes answer;
};

asio::awaitable<Result<protocol::Frame>> Connection::read() {
    Bytes received;
    std::array<std::uint8_t, 4096> chunk;
    while (true) {
        const auto size = protocol::frame_size(received, protocol::kLocalFrameLimit);
        if (!size) co_return fail(size.error());
        if (*size && received.size() == **size) co_return protocol::decode_frame(received);
        if (*size && received.size() > **size)
            co_return fail(Code::kMalformed, "more than one request on a connection");
        const auto [error, got] = co_await socket.async_read_some(asio::buffer(chunk), kAwait);
        if (error) co_return fail(Code::kUnavailable, "the asker left");
        received.insert(received.end(), chunk.begin(), chunk.begin() + static_cast<std::ptrdiff_t>(got));
    }
}

// Where the folder hands on its group (the package's does), nothing need be given away: the unit has no right
// to. A helper of another group then knocks as anybody may; strangers are sent away at the door.
bool open_to_group(const std::string& path, gid_t group) {
    struct stat facts {};
    const bool is_theirs = (::stat(path.c_str(), &facts) == 0 && facts.st_gid == group) ||
                           ::chown(path.c_str(), static_cast<uid_t>(-1), group) == 0;
    if (!is_theirs && errno != EPERM) return false;
    return ::chmod(path.c_str(), is_theirs ? 0660 : 0666) == 0;
}

Result<Peer> peer_of(int socket) {
    ucred credentials{};
    socklen_t size = sizeof credentials;
    if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0)
        return fail(Code::kUnauthenticated, "the kernel does not say who asks");
    return Peer{credentials.pid, credentials.uid};
}

// One word that fits into any socket's buffer, and is not waited for.
void refuse(int socket) {
    protocol::Refused refused;
    refused.code = info(Code::kUnauthenticated).name;
    refused.message = "this user may not ask the agent";
    refused.next = "ask as root";
    const Bytes answer = protocol::encode(refused);
    (void)!::send(socket, answer.data(), answer.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
}

} // namespace

struct LocalServer::State : std::enable_shared_from_this<LocalServer::State> {
    State(asio::io_context& context, Handler the_handler)
        : io(context), handler(std::move(the_handler)), acceptor(io), pause(io) {}

    asio::awaitable<void> accept();
    asio::awaitable<void> serve(std::shared_ptr<Connection> connection, Peer peer);

    asio::io_context& io;
    Handler handler;
    stream_protocol::acceptor acceptor;
    asio::steady_timer pause;
    std::string path;
    uid_t helper_uid = 0;
    std::shared_ptr<std::size_t> connections = std::make_shared<std::size_t>(0);
    bool is_stopping = false;
};

asio::awaitable<void> LocalServer::State::accept() {
    const auto self = shared_from_this();
    while (!is_stopping) {
        stream_protocol::socket socket(io);
        const auto [error] = co_await acceptor.async_accept(socket, kAwait);
        if (is_stopping) co_return;
        if (error) {
            pause.expires_after(std::chrono::microseconds(kPauseAfterFailure.value));
            static_cast<void>(co_await pause.async_wait(kAwait));
            continue;
        }
        const auto peer = peer_of(socket.native_handle());
        if (!peer || (peer->uid != 0 && peer->uid != helper_uid)) {
            refuse(socket.native_handle());
            continue;
        }
        if (*connections >= kMaxConnections) continue; // closed: the asker denies
        auto connection = std::make_shared<Connection>(std::move(socket), connections);
        asio::co_spawn(io, serve(std::move(connection), *peer), [self](const std::exception_ptr& problem) {
            if (problem) log_error("fail in a local request why=exception");
        });
    }
}

asio::awaitable<void> LocalServer::State::serve(std::shared_ptr<Connection> connection, Peer peer) {
    connection->limit_time(kLocalTime);
    const auto frame = co_await connection->read();
    if (!frame) {
        connection->close();
        co_return;
    }
    // It came whole within kLocalTime; its answer may take as long as that question is given.
    if (frame->type == protocol::Type::kStepUpCode) connection->limit_time(protocol::kStepUpCodeTime);
    handler(peer, *frame, [connection](Bytes answer) { connection->reply(std::move(answer)); });
}

LocalServer::LocalServer(asio::io_context& io, Handler handler)
    : state_(std::make_shared<State>(io, std::move(handler))) {}

LocalServer::~LocalServer() {
    stop();
}

Status LocalServer::listen(const std::string& path, HelperUser helper) {
    const auto cannot = [&](const std::string& why) {
        return fail(Code::kIo, "cannot listen on " + path + ": " + why);
    };
    if (path.size() >= sizeof(sockaddr_un::sun_path))
        return fail(Code::kConfig, "socket path is too long: " + path);
    std::error_code problem;
    std::filesystem::create_directories(std::filesystem::path(path).parent_path(), problem);
    if (problem) return cannot(problem.message());
    if (posix::Stream::connect_unix(path, posix::Deadline::after(from_millis(100))))
        return fail(Code::kConflict, "another agent answers on " + path, "stop it, or set another socket");
    ::unlink(path.c_str());

    boost::system::error_code error;
    auto& acceptor = state_->acceptor;
    acceptor.open(stream_protocol(), error);
    if (error) return cannot(error.message());
    const mode_t before = ::umask(0177); // nobody else connects before owner and mode are set
    acceptor.bind(stream_protocol::endpoint(path), error);
    ::umask(before);
    if (error) return cannot(error.message());
    state_->path = path;
    state_->helper_uid = helper.uid;
    if (!open_to_group(path, helper.gid)) return cannot(std::strerror(errno));
    acceptor.listen(asio::socket_base::max_listen_connections, error);
    if (error) return cannot(error.message());
    asio::co_spawn(state_->io, state_->accept(), [](const std::exception_ptr& thrown) {
        if (!thrown) return;
        log_error("fail to accept on the local socket why=exception; restarting");
        std::terminate();
    });
    return {};
}

void LocalServer::stop() {
    if (state_->is_stopping) return;
    state_->is_stopping = true;
    boost::system::error_code ignored;
    state_->acceptor.close(ignored);
    state_->pause.cancel();
    if (!state_->path.empty()) ::unlink(state_->path.c_str());
}

} // namespace latchkey::agent
