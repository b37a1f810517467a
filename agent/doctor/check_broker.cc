// SPDX-License-Identifier: Apache-2.0
// The way to the broker, and its clock.
#include <cstdio>

#include "agent/doctor/checks.h"

namespace latchkey::agent::doctor {
namespace {

constexpr Micros kNameTime = from_seconds(5);
constexpr Micros kGreetTime = from_seconds(5);
constexpr std::size_t kMostAddresses = 3;
constexpr double kClockWarning = 5;
constexpr double kClockProblem = 60; // certificates begin 60 s before they are made

// By a program with a deadline: a resolver that hangs shall not hang us.
Result<std::vector<std::string>> addresses_of(Machine& machine, const std::string& host) {
    LK_TRY(ran, machine.run({"getent", "ahosts", host}, kNameTime));
    std::vector<std::string> addresses;
    for (const std::string& line : lines_of(ran.out)) {
        const Words words = words_of(line);
        if (words.empty() || addresses.size() == kMostAddresses) continue;
        bool is_new = true;
        for (const std::string& known : addresses) is_new = is_new && known != words.front();
        if (is_new) addresses.push_back(words.front());
    }
    if (addresses.empty()) return fail(Code::kNotFound, "the name " + host + " has no address");
    return addresses;
}

} // namespace

Status greet_broker(Machine& machine, const StateFolder& state, const BrokerPin& pin) {
    LK_TRY(addresses, addresses_of(machine, pin.broker.host));
    Status last;
    for (const std::string& address : addresses) {
        last = machine.greet_broker(state, {address, pin.broker.port}, pin.broker_key, kGreetTime);
        if (last || last.error().code == Code::kUnauthenticated) return last;
    }
    return last;
}

void check_broker_reach(const Look& look, Report& report) {
    if (!look.pin) return report.unseen("the broker", "this VM's pin could not be read");
    const std::string where = look.pin->broker.text();
    const Status& greeted = look.greeting;
    if (greeted || greeted.error().code == Code::kUnauthenticated) return report.ok(where + " answers");
    const Error& error = greeted.error();
    if (error.code == Code::kNotFound) {
        return report.problem(error.message, "this VM hears of no revocation and no new grant",
                              "mend /etc/resolv.conf or the name's record");
    }
    if (error.code == Code::kRefused) // no key to greet with
        return report.unseen("the broker", error.message, "run it as root");
    report.problem(error.message, "this VM hears of no revocation and no new grant",
                   "open the way from here to " + where + " (TCP), or start the broker");
}

void check_broker_pin(const Look& look, Report& report) {
    if (!look.pin) return report.unseen("the broker's key", "this VM's pin could not be read");
    const Status& greeted = look.greeting;
    if (greeted) return report.ok("the broker shows " + look.pin->broker_key.str());
    if (greeted.error().code != Code::kUnauthenticated)
        return report.unseen("the broker's key", "the broker was not reached");
    report.problem(greeted.error().message, "the agent speaks to nobody but the pinned key",
                   "if the broker's key was really changed: latchkey-agent join <token>; if not, somebody "
                   "stands in between");
}

void check_clock(const Look& look, Report& report) {
    if (!look.agent || !look.agent->connected)
        return report.unseen("this VM's clock", "only an agent with a broker knows the difference");
    const double seconds = static_cast<double>(look.agent->offset_magnitude) / 1e6;
    char text[96];
    std::snprintf(text, sizeof text, "this VM's clock is %.1f s %s the broker's", seconds,
                  look.agent->broker_is_ahead ? "behind" : "ahead of");
    if (seconds < kClockWarning) return report.ok(text);
    const std::string next = "set it: systemctl status systemd-timesyncd (or chrony)";
    if (seconds < kClockProblem)
        return report.warning(text, "certificates look younger or older here than they are", next);
    report.problem(text, "sshd judges certificates by this clock: valid ones are refused", next);
}

} // namespace latchkey::agent::doctor
