// SPDX-License-Identifier: Apache-2.0
#include "agent/bus/bus_object.h"

#include <cctype>

#include "agent/bus/sdbus.h"
#include "agent/version.h"

namespace latchkey::agent::bus {
namespace {

constexpr const char* kConnected = "Connected";
constexpr const char* kEpoch = "Epoch";

// id, user, login, key, serial, from, since (micros since 1970, broker time), monitor pid
using SessionRow = sdbus::Struct<std::uint64_t, std::string, std::string, std::string, std::uint64_t,
                                 std::string, std::uint64_t, std::uint32_t>;

SessionRow to_row(const protocol::LiveSession& session) {
    return {session.id,
            session.user.str(),
            session.login.str(),
            session.key.str(),
            session.serial.value,
            session.from,
            static_cast<std::uint64_t>(session.since.value),
            session.monitor_pid};
}

Code code_of(const std::string& name) {
    if (name == "org.freedesktop.DBus.Error.FileNotFound") return Code::kNotFound;
    if (name == "org.freedesktop.DBus.Error.FileExists") return Code::kExists;
    if (name == "org.freedesktop.DBus.Error.AccessDenied") return Code::kRefused;
    return Code::kUnavailable;
}

[[noreturn]] void refuse(const Error& error) {
    if (error.code == Code::kUnauthenticated)
        throw make_error("org.freedesktop.DBus.Error.AccessDenied", error.line());
    throw make_error(error_name(error.code), error.line());
}

template <class Value>
Value give(Result<Value> result) {
    if (!result) refuse(result.error());
    return *std::move(result);
}
void give(const Status& status) {
    if (!status) refuse(status.error());
}

} // namespace

std::string error_name(Code code) {
    std::string name = "org.latchkey.Error.";
    bool is_start = true;
    for (const char c : info(code).name) {
        if (c != '-') name += is_start ? static_cast<char>(std::toupper(static_cast<unsigned char>(c))) : c;
        is_start = c == '-';
    }
    return name;
}

struct BusObject::State {
    State(Answers the_answers, const View& the_view) : answers(std::move(the_answers)), view(the_view) {}

    void open() {
        bus = sdbus::createSystemBusConnection();
        bus->setMethodCallTimeout(static_cast<std::uint64_t>(kBusPatience.value));
        object = make_object(*bus, kBusPath);
        describe();
        take_name(*bus, kBusName);
    }
    void describe();
    // For what names people or changes something. The policy file says the same; this holds without it.
    void check_caller() { give(answers.check(caller_of(*object))); }

    Answers answers;
    View view;
    std::unique_ptr<sdbus::IConnection> bus;
    std::unique_ptr<sdbus::IObject> object; // goes before its connection
};

void BusObject::State::describe() {
    InterfaceOf interface(*object, kBusInterface);
    interface.property(kConnected, sdbus::Flags::EMITS_CHANGE_SIGNAL, [this] { return view.is_connected; });
    interface.property(kEpoch, sdbus::Flags::EMITS_CHANGE_SIGNAL, [this] { return view.epoch.value; });
    // These two change all the time: whoever wants them asks.
    interface.property("LastHeartbeat", sdbus::Flags::EMITS_NO_SIGNAL,
                       [this] { return static_cast<std::uint64_t>(view.last_heartbeat.value); });
    interface.property("ClockOffset", sdbus::Flags::EMITS_NO_SIGNAL,
                       [this] { return std::int64_t{view.clock_offset.value}; });
    interface.property("Version", sdbus::Flags::CONST_PROPERTY_VALUE,
                       [] { return std::string(kAgentVersion); });
    interface.method("ListSessions", {}, {"sessions"}, [this] {
        return answer_bus([&] {
            check_caller();
            std::vector<SessionRow> rows;
            for (const auto& session : give(answers.list_sessions())) rows.push_back(to_row(session));
            return rows;
        });
    });
    interface.method("Resync", {}, {}, [this] {
        answer_bus([&] {
            check_caller();
            give(answers.resync());
        });
    });
    interface.method(
        "Explain", {"login", "key"}, {"lines"}, [this](const std::string& login, const std::string& key) {
            return answer_bus([&] {
                check_caller();
                return give(answers.explain(give(Login::parse(login)), give(Fingerprint::parse(key))));
            });
        });
    interface.signal<std::uint64_t, std::string, std::uint32_t>("Revoked",
                                                                {"epoch", "kind", "sessions_ended"});
    interface.signal<>("TrustChanged", {});
    interface.put_on_bus();
}

BusObject::BusObject(std::unique_ptr<State> state) : state_(std::move(state)) {}
BusObject::~BusObject() = default;

Result<std::unique_ptr<BusObject>> BusObject::open(Answers answers, const View& view) {
    return guarded("D-Bus", code_of, [&]() -> Result<std::unique_ptr<BusObject>> {
        auto state = std::make_unique<State>(std::move(answers), view);
        state->open();
        return std::unique_ptr<BusObject>(new BusObject(std::move(state)));
    });
}

Result<bool> BusObject::process() {
    return guarded("D-Bus", code_of, [&]() -> Result<bool> { return process_one(*state_->bus); });
}

Result<PollWish> BusObject::poll_wish() {
    return guarded("D-Bus", code_of, [&]() -> Result<PollWish> {
        const auto data = state_->bus->getEventLoopPollData();
        PollWish wish{
            .fd = data.fd, .event_fd = -1, .events = data.events, .timeout_millis = data.getPollTimeout()};
#if LATCHKEY_SDBUS_MAJOR >= 2
        wish.event_fd = data.eventFd;
#endif
        return wish;
    });
}

Status BusObject::show(const View& view) {
    std::vector<std::string> changed;
    if (view.is_connected != state_->view.is_connected) changed.emplace_back(kConnected);
    if (view.epoch != state_->view.epoch) changed.emplace_back(kEpoch);
    state_->view = view;
    if (changed.empty()) return {};
    return guarded("D-Bus", code_of, [&]() -> Status {
        emit_changed(*state_->object, kBusInterface, changed);
        return {};
    });
}

Status BusObject::tell(const Revoked& revoked) {
    return guarded("D-Bus", code_of, [&]() -> Status {
        state_->object->emitSignal("Revoked")
            .onInterface(kBusInterface)
            .withArguments(revoked.epoch.value, revoked.kind, revoked.sessions_ended);
        return {};
    });
}

Status BusObject::tell_trust_changed() {
    return guarded("D-Bus", code_of, [&]() -> Status {
        state_->object->emitSignal("TrustChanged").onInterface(kBusInterface);
        return {};
    });
}

} // namespace latchkey::agent::bus
