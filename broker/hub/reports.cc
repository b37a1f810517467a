// SPDX-License-Identifier: Apache-2.0
// What a VM reports, what the hub notices about one, and two machines that say that they are the same VM.
#include <algorithm>
#include <boost/asio/steady_timer.hpp>
#include <chrono>

#include "broker/hub/await.h"
#include "broker/hub/offload.h"
#include "broker/hub/state.h"
#include "broker/ledger/vm_reports.h"

namespace latchkey::hub {
namespace {

constexpr std::string_view kInstance = "instance"; // extension of Hello: random, of one run of the agent
constexpr Micros kLongestLook = from_millis(7500); // an agent waits 10 s for its Welcome
constexpr int kLooks = 150;

} // namespace

asio::awaitable<Status> Hub::State::take_report(LinkPtr link, protocol::Frame frame) {
    auto report = protocol::decode<protocol::Report>(frame);
    if (!report) co_return fail(report.error());
    if (report->id == 0) co_return fail(Code::kMalformed, "report without an id");
    co_await pace(link);
    protocol::Reported answer;
    answer.id = report->id;
    auto write = [this, vm = link->vm, told = std::move(*report)] {
        return parts.ledger.write(
            [&](ledger::Transaction& t) { return ledger::record_report(t, *vm, told); });
    };
    const Status written = co_await offload(pool, std::move(write));
    if (written) {
        link->send(answer);
    } else { // it comes again with the next connection
        log_of(LogLevel::kError, *link->vm, "fail to record report",
               " why=\"" + written.error().line() + "\"");
    }
    co_return Status();
}

void Hub::State::note(const ledger::Vm& vm, const std::string& kind, const std::string& text) {
    protocol::Report report;
    report.kind = kind;
    report.time = parts.clock.now();
    report.text = text;
    asio::post(pool, [this, vm, report = std::move(report)] {
        const Status written =
            parts.ledger.write([&](ledger::Transaction& t) { return ledger::record_report(t, vm, report); });
        if (!written) log(LogLevel::kError, "fail to record report why=\"" + written.error().line() + "\"");
    });
}

// Of two connections of one VM the older one is dead (the VM fell over and is back) or it speaks on: then the
// key is on two machines. Agents that do not say which run they are get the old rule, the newer one wins.
asio::awaitable<bool> Hub::State::is_clone(LinkPtr link, Bytes instance) {
    link->instance = std::move(instance);
    const auto found = agents.find(link->vm->id.value);
    if (found == agents.end()) co_return false;
    const LinkPtr older = found->second;
    if (link->instance.empty() || older->instance.empty() || link->instance == older->instance)
        co_return false;
    const std::int64_t span = std::min(settings.heartbeat.value * 3 / 2, kLongestLook.value);
    link->due = parts.clock.monotonic() + settings.handshake_deadline;
    asio::steady_timer pause(io);
    std::uint64_t heard_before = 0;
    for (int look = 0; look < kLooks; ++look) {
        if (!older->tls->is_open() || agents.count(link->vm->id.value) == 0 ||
            agents[link->vm->id.value] != older)
            co_return false;
        if (look == kLooks / 6) heard_before = older->frames; // what was on its way has come
        if (look > kLooks / 6 && older->frames > heard_before) co_return true;
        pause.expires_after(std::chrono::microseconds(std::max<std::int64_t>(span / kLooks, 1000)));
        co_await pause.async_wait(kAwait);
    }
    co_return false;
}

asio::awaitable<Status> Hub::State::refuse_clone(LinkPtr link) {
    const auto found = agents.find(link->vm->id.value);
    const std::string other = found == agents.end() ? "another address" : found->second->address;
    const std::string line =
        "two machines have this VM's identity: " + other + " is connected, " + link->address + " was refused";
    if (log_of(LogLevel::kError, *link->vm, "refuse clone", " why=\"" + line + "\""))
        note(*link->vm, "clone", line);
    Error error{Code::kConflict, "another machine with this VM's identity is connected from " + other,
                "if this one is a copy, give it its own: latchkey-agent join TOKEN in an empty state folder"};
    co_return co_await refuse(link, std::move(error));
}

Bytes Hub::State::instance_in(const protocol::Hello& hello) {
    const auto found = std::ranges::find(hello.extensions, kInstance, &protocol::Extension::name);
    return found == hello.extensions.end() ? Bytes() : found->value;
}

} // namespace latchkey::hub
