// SPDX-License-Identifier: Apache-2.0
// What it costs to run a small program from its start to its end: spawn_cost ROUNDS -- WORDS... [--
// WORDS...]... The commands run in turn, their output thrown away, no shell between. Prints the median wall
// time of each in micros as a JSON list.

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string_view>
#include <vector>

#include "tests/bench/timing.h"

namespace latchkey::bench {
namespace {

constexpr int kWarmUp = 5;

using Command = std::vector<char*>; // ends in a null pointer, as spawn wants it

std::vector<Command> read_commands(int count, char** words) {
    std::vector<Command> commands;
    for (int i = 0; i < count; ++i) {
        if (std::string_view(words[i]) == "--") {
            commands.emplace_back();
        } else if (!commands.empty()) {
            commands.back().push_back(words[i]);
        }
    }
    for (Command& command : commands) command.push_back(nullptr);
    return commands;
}

class Spawner {
public:
    Spawner() {
        ::posix_spawn_file_actions_init(&actions_);
        ::posix_spawn_file_actions_addopen(&actions_, 0, "/dev/null", O_RDONLY, 0);
        ::posix_spawn_file_actions_addopen(&actions_, 1, "/dev/null", O_WRONLY, 0);
    }
    ~Spawner() { ::posix_spawn_file_actions_destroy(&actions_); }
    Spawner(const Spawner&) = delete;
    Spawner& operator=(const Spawner&) = delete;

    // Micros from start to end; nullopt where it cannot be started or says that it failed.
    std::optional<double> run(const Command& command) const {
        const Stopwatch watch;
        pid_t pid = 0;
        if (::posix_spawn(&pid, command[0], &actions_, nullptr, command.data(), environ) != 0)
            return std::nullopt;
        int status = 0;
        if (::waitpid(pid, &status, 0) != pid || status != 0) return std::nullopt;
        return watch.seconds() * 1e6;
    }

private:
    posix_spawn_file_actions_t actions_{};
};

int run(int rounds, const std::vector<Command>& commands) {
    const Spawner spawner;
    std::vector<std::vector<double>> micros(commands.size());
    for (int round = -kWarmUp; round < rounds; ++round) {
        for (std::size_t i = 0; i < commands.size(); ++i) {
            const auto took = spawner.run(commands[i]);
            if (!took) {
                std::fprintf(stderr, "spawn_cost: %s failed\n", commands[i][0]);
                return 1;
            }
            if (round >= 0) micros[i].push_back(*took);
        }
    }
    for (std::size_t i = 0; i < micros.size(); ++i)
        std::printf("%s%.1f", i == 0 ? "[" : ", ", median(micros[i]));
    std::printf("]\n");
    return 0;
}

} // namespace
} // namespace latchkey::bench

int main(int argc, char** argv) {
    const int rounds = argc > 1 ? std::atoi(argv[1]) : 0;
    const auto commands = latchkey::bench::read_commands(argc - 2, argv + 2);
    if (argc < 4 || rounds < 1 || commands.empty() || commands.front().size() < 2) {
        std::fprintf(stderr, "usage: spawn_cost ROUNDS -- WORDS... [-- WORDS...]...\n");
        return 2;
    }
    return latchkey::bench::run(rounds, commands);
}
