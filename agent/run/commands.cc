// SPDX-License-Identifier: Apache-2.0
#include "agent/run/commands.h"

#include <malloc.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <thread>

#include "agent/hub_link/join.h"
#include "agent/log/log.h"
#include "agent/run/agent.h"
#include "agent/run/first_boot.h"
#include "agent/sessions/sessions.h"
#include "core/posix/descriptors.h"
#include "core/posix/notify.h"

namespace latchkey::agent {
namespace {

constexpr int kSpareHeap = 32 * 1024;

Result<AgentConfig> read_config(const ConfigChoice& choice) {
    if (choice.file.empty()) return load_config(kDefaultConfigFile, MissingFile::kMeansDefaults);
    return load_config(choice.file, MissingFile::kIsAnError);
}

void say_ready(int fd) {
    if (!posix::notify_ready()) log_warn("fail to notify systemd");
    if (fd < 0) return;
    if (::write(fd, "ready\n", 6) != 6) log_warn("fail to write to the ready descriptor");
    ::close(fd);
}

Status join_with(const AgentConfig& config, std::string_view token_text, const JoinWishes& wishes) {
    LK_TRY(token, parse_token(token_text));
    LK_TRY(pin, join(StateFolder(config.state_dir), token, wishes));
    log_info("join broker=" + pin.broker.text() + " vm=" + pin.vm_name.str());
    return {};
}

// Many VMs of one image boot at once: up to a quarter longer, so that they do not ask in step.
void pause_out_of_step(Micros pause) {
    const std::int64_t more = SystemClock().monotonic().value % (pause.value / 4 + 1);
    std::this_thread::sleep_for(std::chrono::microseconds(pause.value + more));
}

} // namespace

Status run_join(const ConfigChoice& choice, const JoinArguments& arguments) {
    LK_TRY(config, read_config(choice));
    set_up_log(LogLevel::kWarn, LogStamps::kBySystemd);
    JoinWishes wishes;
    for (const std::string& text : arguments.labels) {
        LK_TRY(label, parse_label(text));
        wishes.labels.push_back(std::move(label));
    }
    LK_TRY(name, arguments.name.empty() ? name_of_host() : VmName::parse(arguments.name));
    wishes.name = std::move(name);
    std::string token = arguments.token;
    if (token == "-" && !std::getline(std::cin, token))
        return fail(Code::kUsage, "no token on standard input", "pipe the line that `vm token` printed");
    LK_CHECK(join_with(config, token, wishes));
    const auto pin = StateFolder(config.state_dir).load_pin();
    if (pin) {
        std::printf("joined %s as %s; start or restart the agent: latchkey-agent run\n",
                    pin->broker.text().c_str(), pin->vm_name.str().c_str());
    }
    return {};
}

Status run_first_boot(const ConfigChoice& choice) {
    LK_TRY(config, read_config(choice));
    set_up_log(config.log_level, LogStamps::kBySystemd);
    ::prctl(PR_SET_DUMPABLE, 0); // no core dump with a token in it
    const StateFolder state(config.state_dir);
    TokenPlaces places{{}, config.join_token_file};
    if (const char* folder = std::getenv("CREDENTIALS_DIRECTORY"); folder != nullptr)
        places.credential = std::filesystem::path(folder) / kTokenCredential;
    const auto join_as = [&state](const protocol::JoinToken& token, const VmName& name) {
        return join(state, token, {name, {}});
    };
    LK_TRY(done, first_boot(state, places, {own_name_of_host, join_as, pause_out_of_step, log_info}));
    if (done == FirstBoot::kNoToken) {
        log_info("skip join why=\"no token in " + places.file.string() + ", nor a credential " +
                 std::string(kTokenCredential) + "\"");
    }
    return {};
}

Status run_agent(const ConfigChoice& choice, const RunArguments& arguments) {
    // It waits most of the time, on one thread: one heap for all, and what a burst of logins took goes back.
    ::mallopt(M_ARENA_MAX, 1);
    ::mallopt(M_TRIM_THRESHOLD, kSpareHeap);
    ::mallopt(M_TOP_PAD, kSpareHeap);
    LK_TRY(config, read_config(choice));
    set_up_log(config.log_level, arguments.is_foreground ? LogStamps::kOwn : LogStamps::kBySystemd);
    ::prctl(PR_SET_DUMPABLE, 0);     // no core dump with a key in it
    posix::raise_descriptor_limit(); // beside sessions that end, connections and files need theirs
    const SystemClock clock;
    boost::asio::io_context io(1);
    LK_TRY(agent, Agent::make(io, clock, config, make_session_ender(config.logind == LogindUse::kAuto)));
    boost::asio::signal_set signals(io, SIGTERM, SIGINT);
    signals.async_wait([&](const boost::system::error_code& error, int) {
        if (!error) io.stop();
    });
    LK_CHECK(agent->start());
    say_ready(arguments.ready_fd);
    io.run();
    log_info("stop agent");
    agent->stop();
    return {};
}

} // namespace latchkey::agent
