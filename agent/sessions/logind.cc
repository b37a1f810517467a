// SPDX-License-Identifier: Apache-2.0
// The adapter to sdbus-c++ for its client side: what it throws ends in this file; agent/bus/sdbus.h is its
// shim.
#include "agent/sessions/logind.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "agent/bus/sdbus.h"
#include "agent/sessions/bus_probe.h"

namespace latchkey::agent {
namespace {

constexpr const char* kService = "org.freedesktop.login1";
constexpr const char* kManagerPath = "/org/freedesktop/login1";
constexpr const char* kManager = "org.freedesktop.login1.Manager";
constexpr const char* kSession = "org.freedesktop.login1.Session";
constexpr const char* kProperties = "org.freedesktop.DBus.Properties";

Code code_of(const std::string& name) {
    const bool is_missing =
        name == "org.freedesktop.login1.NoSuchSession" || name == "org.freedesktop.DBus.Error.UnknownObject";
    return is_missing ? Code::kNotFound : Code::kUnavailable;
}

// Runs one exchange with logind; nothing that sdbus-c++ throws gets past it.
template <class Exchange>
auto guarded(Exchange exchange) -> decltype(exchange()) {
    return bus::guarded("logind", code_of, std::move(exchange));
}

class BusLogind : public Logind {
public:
    BusLogind(std::unique_ptr<sdbus::IConnection> bus, const posix::Deadline& deadline)
        : bus_(std::move(bus)),
          manager_(bus::make_proxy(*bus_, kService, kManagerPath)),
          deadline_(deadline) {}

    Result<LogindSession> session(const std::string& id) override {
        return guarded([&]() -> Result<LogindSession> {
            return read_session(ask<sdbus::ObjectPath>(*manager_, kManager, "GetSession", id));
        });
    }

    Result<LogindSession> session_led_by(pid_t leader) override {
        return guarded([&]() -> Result<LogindSession> {
            using Row =
                sdbus::Struct<std::string, std::uint32_t, std::string, std::string, sdbus::ObjectPath>;
            std::optional<Error> unread;
            for (const Row& row : ask<std::vector<Row>>(*manager_, kManager, "ListSessions")) {
                auto session = guarded([&] { return read_session(std::get<4>(row)); });
                if (session && session->leader == leader) return session;
                const bool is_unread = !session && session.error().code != Code::kNotFound; // else it went
                if (is_unread && !unread) unread = std::move(session).error();
            }
            if (unread) return fail(*std::move(unread)); // it may be that one
            return fail(Code::kNotFound, "no session is led by process " + std::to_string(leader));
        });
    }

    Status terminate(const std::string& id) override {
        return guarded([&]() -> Status {
            tell("TerminateSession", id);
            return {};
        });
    }

    Status kill(const std::string& id, Whom whom, int signal) override {
        return guarded([&]() -> Status {
            const std::string who = whom == Whom::kLeader ? "leader" : "all";
            tell("KillSession", id, who, std::int32_t{signal});
            return {};
        });
    }

private:
    // 0 would mean the library's default of 25 s.
    std::chrono::milliseconds left() const {
        return std::chrono::milliseconds(std::max(1, deadline_.poll_millis()));
    }
    // One expression each: sdbus-c++ 1.x keeps references to its arguments.
    template <class Answer, class... Arguments>
    Answer ask(sdbus::IProxy& proxy, const char* interface, const char* method,
               const Arguments&... arguments) {
        Answer answer;
        proxy.callMethod(method)
            .onInterface(interface)
            .withTimeout(left())
            .withArguments(arguments...)
            .storeResultsTo(answer);
        return answer;
    }
    template <class... Arguments>
    void tell(const char* method, const Arguments&... arguments) {
        manager_->callMethod(method).onInterface(kManager).withTimeout(left()).withArguments(arguments...);
    }

    Result<LogindSession> read_session(const sdbus::ObjectPath& path) {
        const auto proxy = bus::make_proxy(*bus_, kService, path);
        using Values = std::map<std::string, sdbus::Variant>;
        const auto all = ask<Values>(*proxy, kProperties, "GetAll", std::string(kSession));
        LogindSession session;
        session.id = all.at("Id").get<std::string>();
        session.leader = static_cast<pid_t>(all.at("Leader").get<std::uint32_t>());
        session.state = all.at("State").get<std::string>();
        session.session_class = all.at("Class").get<std::string>();
        return session;
    }

    std::unique_ptr<sdbus::IConnection> bus_;
    std::unique_ptr<sdbus::IProxy> manager_;
    posix::Deadline deadline_;
};

} // namespace

Result<std::unique_ptr<Logind>> connect_logind(const posix::Deadline& deadline) {
    LK_CHECK(probe_system_bus(deadline));
    return guarded([&]() -> Result<std::unique_ptr<Logind>> {
        return std::unique_ptr<Logind>(
            std::make_unique<BusLogind>(sdbus::createSystemBusConnection(), deadline));
    });
}

} // namespace latchkey::agent
