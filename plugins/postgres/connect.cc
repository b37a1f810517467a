// SPDX-License-Identifier: Apache-2.0
#include "plugins/postgres/connect.h"

#include <openssl/ssl.h>
#include <poll.h>

#include <algorithm>
#include <cstring>

namespace latchkey::postgres {
namespace {

using SteadyTime = std::chrono::steady_clock::time_point;

constexpr int kLeastVersion = 15'00'00;

// libpq says "certificate verify failed" and not why. OpenSSL knows when it sends the alert: so each TLS
// session that is made on a thread that connects here gets a callback which asks it. SSL_new is libpq's own
// call, inside of which only this hook runs.
thread_local std::string* tls_reason = nullptr;

void on_tls_event(const SSL* tls, int where, int) {
    if (tls_reason == nullptr || (where & SSL_CB_WRITE_ALERT) != SSL_CB_WRITE_ALERT) return;
    const long verified = SSL_get_verify_result(tls);
    if (verified != X509_V_OK) *tls_reason = X509_verify_cert_error_string(verified);
}

void on_new_tls(void* tls, void*, CRYPTO_EX_DATA*, int, long, void*) {
    if (tls_reason != nullptr) SSL_set_info_callback(static_cast<SSL*>(tls), on_tls_event);
}

class TlsReason {
public:
    TlsReason() {
        static const int hook = SSL_get_ex_new_index(0, nullptr, on_new_tls, nullptr, nullptr);
        (void)hook; // without it the reason stays empty
        tls_reason = &reason_;
    }
    ~TlsReason() { tls_reason = nullptr; }
    TlsReason(const TlsReason&) = delete;
    TlsReason& operator=(const TlsReason&) = delete;
    const std::string& text() const { return reason_; }

private:
    std::string reason_;
};

SteadyTime deadline_of(const Settings& settings) {
    std::ptrdiff_t hosts = 1;
    for (const auto& [name, value] : settings.parameters) {
        if (name == "host") hosts = 1 + std::count(value.begin(), value.end(), ',');
    }
    return std::chrono::steady_clock::now() + settings.connect_timeout * hosts;
}

Result<Session> start(const Settings& settings) {
    std::vector<const char*> names;
    std::vector<const char*> values;
    for (const auto& [name, value] : settings.parameters) {
        names.push_back(name.c_str());
        values.push_back(value.c_str());
    }
    names.push_back(nullptr);
    values.push_back(nullptr);
    Session session(PQconnectStartParams(names.data(), values.data(), 0));
    if (!session) return fail(Code::kInternal, "libpq has no memory for a connection");
    PQsetNoticeProcessor(
        session.get(), [](void*, const char*) {}, nullptr); // else they go to stderr
    return session;
}

Status finish(PGconn* session, SteadyTime deadline, const Settings& settings) {
    const TlsReason reason;
    PostgresPollingStatusType step = PGRES_POLLING_WRITING;
    if (PQstatus(session) == CONNECTION_BAD) step = PGRES_POLLING_FAILED;
    while (step == PGRES_POLLING_READING || step == PGRES_POLLING_WRITING) {
        if (!wait_for_socket(session, step == PGRES_POLLING_WRITING, deadline)) {
            return lost("it did not take the connection within " +
                            std::to_string(settings.connect_timeout.count() / 1000) + " s",
                        settings.where);
        }
        step = PQconnectPoll(session);
    }
    if (step == PGRES_POLLING_OK) return {};
    return no_connection(one_line(PQerrorMessage(session)), reason.text(), settings.where);
}

Status check_server(const PGconn* session, const std::string& where) {
    if (PQserverVersion(session) < kLeastVersion) {
        return fail(
            Code::kUnsupported,
            "database " + where + ": it is PostgreSQL " + std::to_string(PQserverVersion(session) / 10000),
            "use PostgreSQL 15 or newer");
    }
    const char* encoding = PQparameterStatus(session, "server_encoding");
    if (encoding != nullptr && std::strcmp(encoding, "UTF8") == 0) return {};
    return fail(Code::kConfig, "database " + where + ": its encoding is not UTF8",
                "create it with: createdb --encoding UTF8 --template template0");
}

} // namespace

bool wait_for_socket(PGconn* session, bool for_writing, SteadyTime deadline) {
    pollfd one{PQsocket(session), static_cast<short>(for_writing ? POLLIN | POLLOUT : POLLIN), 0};
    if (one.fd < 0) return true; // libpq tells why
    for (;;) {
        const auto left =
            std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
        const int found = ::poll(&one, 1, static_cast<int>(std::max<std::int64_t>(0, left.count())));
        if (found > 0) return true;
        if (found == 0) return false;
        if (errno != EINTR) return true; // libpq meets it too, and tells why
    }
}

Result<Session> connect(const Settings& settings) {
    const SteadyTime deadline = deadline_of(settings);
    LK_TRY(session, start(settings));
    LK_CHECK(finish(session.get(), deadline, settings));
    LK_CHECK(check_server(session.get(), settings.where));
    return session;
}

// A broker that is paused or cut off inside a transaction must not keep the write lock: the server ends its
// session. Waiting for the lock ends before the statement's time does, so that it can be told from a slow
// one.
std::string set_up_script(const Settings& settings) {
    const auto ms = settings.statement_timeout.count();
    return "SET statement_timeout = " + std::to_string(ms) +
           "; SET lock_timeout = " + std::to_string(ms / 2) +
           "; SET idle_in_transaction_session_timeout = 5000; SET client_min_messages = error;"
           "SELECT set_config('synchronous_commit', 'on', false) "
           "WHERE current_setting('synchronous_commit') = 'off'";
}

} // namespace latchkey::postgres
