// SPDX-License-Identifier: Apache-2.0
// rogue_broker: a broker that holds every key (identity, ledger, CA) and answers each Fetch with a
// certificate that the CA key signed. Its statement is over that certificate (--statement own) or over
// another one (--statement other): a VM must take the first and refuse the second. Serves one agent at a
// time, until it is ended.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/rand.h>
#include <sys/socket.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <iostream>

#include "agent/fixture/hub.h"
#include "core/cert/certificate.h"
#include "core/cert/statement.h"
#include "core/keys/tls_identity.h"
#include "core/posix/file.h"

namespace latchkey {
namespace {

struct Rogue {
    keys::PrivateKey identity;
    keys::PrivateKey ledger;
    keys::PrivateKey ca;
    keys::PublicKey user_key;
    Login login;
    VmId vm;
    bool is_statement_own = false;

    Bytes certificate(std::uint64_t serial) const {
        const auto now = static_cast<std::uint64_t>(SystemClock().now().seconds());
        cert::Content content;
        content.subject = user_key;
        content.serial = {serial};
        content.key_id = "ann/" + std::to_string(serial);
        content.principals = {login.str()};
        content.valid_after = now - 60;
        content.valid_before = now + 600;
        content.extensions = {{"permit-pty", ""}};
        const Bytes unsigned_bytes = *cert::to_be_signed(content, Bytes(32, 7), ca.public_key());
        return cert::with_signature(unsigned_bytes, *ca.sign(unsigned_bytes));
    }

    Bytes statement(const Bytes& over) const {
        const auto parsed = cert::Certificate::from_blob(over);
        cert::Statement statement;
        statement.certificate_digest = parsed->digest();
        statement.serial = parsed->content().serial;
        statement.sequence = {1};
        statement.issued_at = SystemClock().now();
        return *statement.sign(ledger);
    }

    protocol::Grant answer(const protocol::Fetch& fetch) const {
        const Bytes shown = certificate(7);
        protocol::Grant grant;
        grant.request = fetch.request;
        grant.decision = protocol::GrantDecision::kAllow;
        grant.user = *UserName::parse("ann");
        grant.login = fetch.login;
        grant.key = fetch.key;
        grant.certificate = shown;
        grant.statement = statement(is_statement_own ? shown : certificate(8));
        grant.lines = {{.rule = {1}, .allow = {"pty"}, .from = "", .command = "", .verify_required = false}};
        grant.ends_at = SystemClock().now() + from_seconds(300);
        return grant;
    }

    protocol::Welcome welcome(const protocol::Hello& hello) const {
        protocol::Welcome welcome;
        welcome.vm_id = vm;
        welcome.time = SystemClock().now();
        welcome.epoch = hello.epoch;
        welcome.trust.ca_keys = {ca.public_key().blob()};
        welcome.trust.ledger_keys = {ledger.public_key().blob()};
        welcome.trust.managed_logins = {login};
        return welcome;
    }

    void serve(agent::fixture::HubConnection agent) const {
        if (!agent.is_open()) return;
        auto first = agent.next();
        if (!first) return;
        const auto hello = protocol::decode<protocol::Hello>(*first);
        if (!hello) return;
        agent.say(welcome(*hello));
        while (const auto frame = agent.next()) {
            if (const auto fetch = protocol::decode<protocol::Fetch>(*frame)) agent.say(answer(*fetch));
        }
    }
};

keys::PrivateKey read_key(const std::string& file) {
    return *keys::PrivateKey::from_pem(*posix::read_file(file));
}

int listen_on(std::uint16_t port) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int on = 1;
    ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        ::listen(fd, 8) != 0) {
        std::cerr << "rogue_broker: cannot listen on " << port << "\n";
        std::exit(1);
    }
    return fd;
}

} // namespace
} // namespace latchkey

int main(int argc, char** argv) {
    using namespace latchkey;
    CLI::App app("A broker that lies, for tests.");
    std::string identity;
    std::string ledger;
    std::string ca;
    std::string user_key;
    std::string login;
    std::string statement;
    std::uint64_t vm = 0;
    std::uint16_t port = 0;
    int ready_fd = -1;
    app.add_option("--identity", identity)->required();
    app.add_option("--ledger", ledger)->required();
    app.add_option("--ca", ca)->required();
    app.add_option("--user-key", user_key, "public key line")->required();
    app.add_option("--login", login)->required();
    app.add_option("--vm", vm, "the VM's id")->required();
    app.add_option("--port", port)->required();
    app.add_option("--statement", statement)->required()->check(CLI::IsMember({"own", "other"}));
    app.add_option("--ready-fd", ready_fd);
    CLI11_PARSE(app, argc, argv);

    const Rogue rogue{.identity = read_key(identity),
                      .ledger = read_key(ledger),
                      .ca = read_key(ca),
                      .user_key = *keys::PublicKey::from_line(user_key),
                      .login = *Login::parse(login),
                      .vm = {vm},
                      .is_statement_own = statement == "own"};
    const UniqueHandle<SSL_CTX, SSL_CTX_free> context(SSL_CTX_new(TLS_server_method()));
    if (!keys::configure_tls(context.get(), keys::TlsSide::kServer, rogue.identity)) return 1;
    const UniqueFd listener(listen_on(port));
    if (ready_fd >= 0 && ::write(ready_fd, "ready\n", 6) != 6) return 1;
    for (;;) {
        UniqueFd agent(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
        if (agent) rogue.serve(agent::fixture::HubConnection(std::move(agent), context.get()));
    }
}
