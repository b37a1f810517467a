// SPDX-License-Identifier: Apache-2.0
#pragma once
// A dbus-daemon of the test's own, which takes the place of the system bus for this process. It forbids
// nothing: what the service itself refuses shows. start() and kill() as often as wanted, at one address.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace latchkey::agent::bus {

class PrivateBus {
public:
    PrivateBus() {
        std::string name = (std::filesystem::temp_directory_path() / "lk-bus-XXXXXX").string();
        if (::mkdtemp(name.data()) == nullptr) std::abort();
        folder_ = name;
        ::chmod(name.c_str(), 0755);
        std::ofstream(folder_ / "bus.conf")
            << "<busconfig><type>system</type><listen>" << address() << "</listen><auth>EXTERNAL</auth>"
            << "<policy context=\"default\"><allow user=\"*\"/><allow own=\"*\"/>"
            << "<allow send_destination=\"*\" eavesdrop=\"true\"/><allow receive_sender=\"*\"/>"
            << "</policy></busconfig>";
        ::setenv("DBUS_SYSTEM_BUS_ADDRESS", address().c_str(), 1);
    }
    ~PrivateBus() {
        kill();
        std::filesystem::remove_all(folder_);
    }
    PrivateBus(const PrivateBus&) = delete;
    PrivateBus& operator=(const PrivateBus&) = delete;

    std::string address() const { return "unix:path=" + (folder_ / "socket").string(); }

    // Returns once it listens: dbus-daemon prints its address then.
    void start() {
        std::array<int, 2> ends{};
        if (::pipe2(ends.data(), O_CLOEXEC) != 0) std::abort();
        const std::string config = "--config-file=" + (folder_ / "bus.conf").string();
        std::vector<std::string> words = {"dbus-daemon", config,       "--nofork",
                                          "--nopidfile", "--nosyslog", "--print-address"};
        std::vector<char*> argv;
        argv.reserve(words.size() + 1);
        for (std::string& word : words) argv.push_back(word.data());
        argv.push_back(nullptr);
        posix_spawn_file_actions_t actions;
        ::posix_spawn_file_actions_init(&actions);
        ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
        const int failed = ::posix_spawnp(&pid_, "dbus-daemon", &actions, nullptr, argv.data(), environ);
        ::posix_spawn_file_actions_destroy(&actions);
        ::close(ends[1]);
        ASSERT_EQ(failed, 0) << "dbus-daemon is not installed";
        pollfd wait{ends[0], POLLIN, 0};
        char byte = 0;
        ASSERT_EQ(::poll(&wait, 1, 20'000), 1) << "dbus-daemon does not listen";
        EXPECT_EQ(::read(ends[0], &byte, 1), 1) << "dbus-daemon ended";
        ::close(ends[0]);
    }
    void kill() {
        if (pid_ <= 0) return;
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
        pid_ = 0;
    }

    // A method of the agent's without arguments, called by dbus-send; asked again while nobody has the name.
    // Empty: it answered; else what it said.
    std::string call_until_it_answers(const std::string& method) const {
        const std::string command =
            "timeout 30 dbus-send --system --print-reply --reply-timeout=20000 "
            "--dest=org.latchkey.Agent1 /org/latchkey/Agent1 org.latchkey.Agent1." +
            method + " 2>&1 >/dev/null";
        std::string text = "no attempt";
        for (int attempt = 0; attempt < 200; ++attempt) {
            text.clear();
            std::FILE* pipe = ::popen(command.c_str(), "r");
            std::array<char, 512> chunk{};
            while (std::fgets(chunk.data(), chunk.size(), pipe) != nullptr) text += chunk.data();
            ::pclose(pipe);
            if (text.find("ServiceUnknown") == std::string::npos) break;
            ::poll(nullptr, 0, 50); // the service takes its name on a thread of its own
        }
        return text;
    }

private:
    std::filesystem::path folder_;
    pid_t pid_ = 0;
};

} // namespace latchkey::agent::bus
