// SPDX-License-Identifier: Apache-2.0
#pragma once
// The stock ssh client for the door's tests: one process, its output in files of a folder of its own, its
// prompts answered by a script through SSH_ASKPASS: one answer a prompt, in order. For a join, where the
// secret is only shown in the conversation, the answer "@shown TIME" makes the code from what ssh printed.

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "core/base/unique_handle.h"

namespace latchkey::door {

struct Ended {
    int status = -1; // 255: ssh itself or the connection; -1: killed by the test's deadline
    std::string out;
    std::string err;
};

class StockSsh {
public:
    struct Options {
        std::string user;
        std::uint16_t port = 0;
        std::filesystem::path key;
        std::vector<std::string> answers;
        std::vector<std::string> extra; // ssh options
        std::string command;
        std::string input;
        bool has_terminal = false; // -tt
    };
    StockSsh(const std::filesystem::path& folder, const Options& options);
    ~StockSsh();
    // Waits for its end, 20 s at most.
    Ended wait();
    pid_t pid() const { return pid_; }
    const std::filesystem::path& folder() const { return folder_; } // holds out, err, prompts

private:
    std::filesystem::path folder_;
    pid_t pid_ = 0;
    UniqueFd handle_; // pidfd
};

// A new key pair made by ssh-keygen; returns the private key's path.
std::filesystem::path make_key(const std::filesystem::path& folder, const std::string& name,
                               const std::vector<std::string>& options = {"-t", "ed25519"});
std::string public_line(const std::filesystem::path& private_key);
std::string text_of(const std::filesystem::path& file);
// Runs a program to its end; its exit status.
int run_program(const std::vector<std::string>& words);

} // namespace latchkey::door
