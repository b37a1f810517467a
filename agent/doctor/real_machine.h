// SPDX-License-Identifier: Apache-2.0
#pragma once
// The machine that we run on. See machine.h.

#include <filesystem>
#include <vector>

#include "agent/doctor/machine.h"
#include "core/base/unique_handle.h"

namespace latchkey::agent::doctor {

class RealMachine : public Machine {
public:
    RealMachine() = default;
    ~RealMachine() override;
    RealMachine(const RealMachine&) = delete;
    RealMachine& operator=(const RealMachine&) = delete;

    bool is_root() override;
    Result<std::string> read(const std::string& path) override;
    Result<FileFacts> look(const std::string& path) override;
    Result<std::string> real_path(const std::string& path) override;
    std::vector<std::string> glob(const std::string& pattern) override;
    Result<Ran> run(const Words& argv, Micros time_limit) override;
    std::vector<ProcessSeen> processes() override;
    std::optional<uid_t> user_id(const std::string& name) override;
    std::string user_name(uid_t user) override;
    Result<protocol::AgentStatusAnswer> ask_agent(const std::string& socket) override;
    Status greet_broker(const StateFolder& folder, const protocol::BrokerAddress& at,
                        const Fingerprint& broker_key, Micros time_limit) override;
    Micros now() override;
    void pause(Micros time) override;

    Status write(const std::string& path, const std::string& content, mode_t mode) override;
    Status make_link(const std::string& path, const std::string& target) override;
    Status remove(const std::string& path) override;
    Status set_owner_and_mode(const std::string& path, uid_t owner, gid_t group, mode_t mode) override;
    Result<std::string> stage(const std::map<std::string, std::string>& files_by_name) override;
    Status hang_up(pid_t pid) override;

    // One doctor mends at a time: held until this object goes. kConflict: another one is at it. Removes what
    // a killed one left of its trials.
    Status begin_to_mend();

private:
    UniqueFd lock_;
    std::vector<std::filesystem::path> staged_;
};

} // namespace latchkey::agent::doctor
