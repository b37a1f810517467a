// SPDX-License-Identifier: Apache-2.0
// The least that a hub costs: bare_hub COUNT
// Accepts COUNT TLS connections as the hub's are (both sides' ed25519 keys, TLS 1.3, RELEASE_BUFFERS, no
// tickets) and keeps them. First line: its address and its key's fingerprint, for listeners.cc; once all are
// there, as JSON: processor time and memory for each. Then for each line on stdin: writes one Revoke to all,
// one after the other, and prints when it began, in seconds since 1970. Ends with its stdin.

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include "core/base/unique_handle.h"
#include "core/keys/openssl.h"
#include "core/keys/tls_identity.h"
#include "core/protocol/codec.h"
#include "core/protocol/hub.h"

namespace latchkey::bench {
namespace {

using ContextHandle = UniqueHandle<SSL_CTX, SSL_CTX_free>;
using ConnectionHandle = UniqueHandle<SSL, SSL_free>;

constexpr int kBacklog = 4096;

struct Kept {
    UniqueFd socket;
    ConnectionHandle connection;
};

double cpu_seconds() {
    timespec time{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

double resident_kib() {
    long size = 0;
    long resident = 0;
    std::FILE* file = std::fopen("/proc/self/statm", "re");
    if (file == nullptr || std::fscanf(file, "%ld %ld", &size, &resident) != 2) resident = 0;
    if (file != nullptr) std::fclose(file);
    return static_cast<double>(resident) * static_cast<double>(::sysconf(_SC_PAGESIZE)) / 1024;
}

Result<UniqueFd> listen_somewhere(std::string& address) {
    UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in where{};
    where.sin_family = AF_INET;
    where.sin_addr.s_addr = ::htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof where;
    auto* any = reinterpret_cast<sockaddr*>(&where);
    if (::bind(listener.get(), any, size) != 0 || ::listen(listener.get(), kBacklog) != 0 ||
        ::getsockname(listener.get(), any, &size) != 0)
        return fail(Code::kIo, "cannot listen");
    address = "127.0.0.1:" + std::to_string(::ntohs(where.sin_port));
    return listener;
}

Result<Kept> accept_one(int listener, SSL_CTX* context) {
    Kept kept{UniqueFd(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC)),
              ConnectionHandle(SSL_new(context))};
    const int on = 1;
    ::setsockopt(kept.socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (!kept.connection || SSL_set_fd(kept.connection.get(), kept.socket.get()) != 1 ||
        SSL_accept(kept.connection.get()) != 1)
        return keys::openssl_failure(Code::kUnavailable, "no TLS with a listener");
    return kept;
}

Bytes revoke_of_someone() {
    protocol::Revoke message;
    message.epoch = Epoch{1};
    message.entries = {
        {.epoch = Epoch{1}, .kind = "user", .text = "bench-1", .made_at = Micros{1}, .drop_at = Micros{2}}};
    return protocol::encode(message);
}

Status run(std::size_t count) {
    LK_TRY(identity, keys::PrivateKey::generate(keys::KeyType::kEd25519));
    const ContextHandle context(SSL_CTX_new(TLS_server_method()));
    LK_CHECK(keys::configure_tls(context.get(), keys::TlsSide::kServer, identity));
    std::string address;
    LK_TRY(listener, listen_somewhere(address));
    std::printf("%s %s\n", address.c_str(), identity.public_key().fingerprint().str().c_str());
    std::fflush(stdout);

    std::vector<Kept> all;
    all.reserve(count);
    double cpu = 0;
    double memory = 0;
    while (all.size() < count) {
        LK_TRY(one, accept_one(listener.get(), context.get()));
        all.push_back(std::move(one));
        if (all.size() == 1) { // what the first one alone needs is not counted
            cpu = cpu_seconds();
            memory = resident_kib();
        }
    }
    const double others = static_cast<double>(std::max<std::size_t>(count - 1, 1));
    std::printf("{\"cpu_us\": %.1f, \"kib\": %.2f}\n", (cpu_seconds() - cpu) * 1e6 / others,
                (resident_kib() - memory) / others);
    std::fflush(stdout);

    const Bytes message = revoke_of_someone();
    const SystemClock clock;
    std::string line;
    while (std::getline(std::cin, line)) {
        const Micros began = clock.now();
        for (const Kept& one : all) {
            if (SSL_write(one.connection.get(), message.data(), static_cast<int>(message.size())) <= 0)
                return keys::openssl_failure(Code::kUnavailable, "a listener has gone");
        }
        std::printf("%.6f\n", static_cast<double>(began.value) / 1e6);
        std::fflush(stdout);
    }
    return {};
}

} // namespace
} // namespace latchkey::bench

int main(int argc, char** argv) {
    if (argc != 2) {
        std::fprintf(stderr, "usage: bare_hub COUNT\n");
        return 2;
    }
    const auto done = latchkey::bench::run(static_cast<std::size_t>(std::max(std::atoi(argv[1]), 1)));
    if (done) return 0;
    std::fprintf(stderr, "bare_hub: %s\n", done.error().line().c_str());
    return 1;
}
