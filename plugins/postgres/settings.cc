// SPDX-License-Identifier: Apache-2.0
#include "plugins/postgres/settings.h"

#include <libpq-fe.h>

#include <algorithm>
#include <cstdlib>
#include <map>

#include "core/base/unique_handle.h"

namespace latchkey::postgres {
namespace {

using Options = UniqueHandle<PQconninfoOption, PQconninfoFree>;
using Given = std::map<std::string, std::string, std::less<>>;

constexpr const char* kTlsSettings[] = {"sslmode", "sslrootcert", "sslcert", "sslkey"};
constexpr const char* kTlsModes[] = {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"};

// libpq's own words about a text that does not parse repeat parts of it, a password perhaps: so they are not
// told.
Result<Given> parse(const std::string& url) {
    char* words = nullptr;
    const Options options(PQconninfoParse(url.c_str(), &words));
    PQfreemem(words);
    if (!options) {
        return fail(Code::kConfig, "the setting url is no connection text of PostgreSQL",
                    "write it as: host=db.example.org dbname=latchkey user=latchkey");
    }
    Given given;
    for (const PQconninfoOption* one = options.get(); one->keyword != nullptr; ++one) {
        if (one->val != nullptr) given[one->keyword] = one->val;
    }
    return given;
}

std::string value_of(const Given& given, std::string_view name) {
    const auto found = given.find(name);
    return found == given.end() ? std::string() : found->second;
}

// libpq takes from its environment what the text leaves out: another machine too, which nothing would prove.
bool is_named_elsewhere() {
    for (const char* name : {"PGHOST", "PGHOSTADDR", "PGSERVICE"}) {
        if (std::getenv(name) != nullptr) return true;
    }
    return false;
}

// Every host of the list is a Unix socket.
bool is_local(const Given& given) {
    if (given.contains("hostaddr") || given.contains("service")) return false;
    std::string hosts = value_of(given, "host");
    if (hosts.empty() && is_named_elsewhere()) return false;
    for (std::size_t at = 0; at <= hosts.size();) {
        const std::size_t end = std::min(hosts.find(',', at), hosts.size());
        const char first = end == at ? '/' : hosts[at];
        if (first != '/' && first != '@') return false;
        at = end + 1;
    }
    return true;
}

Status check_tls(Given& given, const sdk::Host& host) {
    if (is_local(given)) return {};
    std::string& mode = given["sslmode"];
    if (mode.empty()) mode = "verify-full";
    if (std::find(std::begin(kTlsModes), std::end(kTlsModes), mode) == std::end(kTlsModes))
        return fail(Code::kConfig, "the setting sslmode is none of PostgreSQL's", "use: verify-full");
    if (mode != "verify-full") {
        host.log(LK_LOG_WARN, "sslmode=" + mode + " does not prove which server answers; use verify-full");
        return {};
    }
    if (!value_of(given, "sslrootcert").empty()) return {};
    return fail(Code::kConfig, "the database is on another machine, and nothing says which CA knows it",
                "set sslrootcert to the file of the CA that signed the server's certificate");
}

} // namespace

Result<Settings> Settings::read(const sdk::Host& host) {
    LK_CHECK(host.only({"url", "sslmode", "sslrootcert", "sslcert", "sslkey", "connect_timeout_seconds",
                        "statement_timeout_ms"}));
    LK_TRY(url, host.required("url"));
    LK_TRY(given, parse(url));
    for (const char* name : kTlsSettings) {
        if (auto value = host.setting(name)) given[name] = *std::move(value);
    }
    LK_CHECK(check_tls(given, host));
    LK_TRY(connect_seconds, host.number("connect_timeout_seconds", 5, 1, 60));
    LK_TRY(statement_ms, host.number("statement_timeout_ms", 10'000, 100, 600'000));

    Settings settings;
    settings.connect_timeout = std::chrono::seconds(connect_seconds);
    settings.statement_timeout = std::chrono::milliseconds(statement_ms);
    settings.where = value_of(given, "dbname") + "@" + value_of(given, "host");
    // What the url does not say itself. A network that swallows packets is noticed by the kernel.
    const Given defaults = {{"fallback_application_name", "latchkeyd"},
                            {"gssencmode", "disable"},
                            {"target_session_attrs", "read-write"},
                            {"keepalives_idle", "5"},
                            {"keepalives_interval", "2"},
                            {"keepalives_count", "3"},
                            {"tcp_user_timeout", "10000"}};
    settings.parameters.assign(defaults.begin(), defaults.end());
    for (auto& [name, value] : given) settings.parameters.emplace_back(name, std::move(value));
    settings.parameters.emplace_back("client_encoding", "UTF8");
    return settings;
}

} // namespace latchkey::postgres
