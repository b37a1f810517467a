// SPDX-License-Identifier: Apache-2.0
// How many certificates a running broker issues and records a second: agents fetch over TLS, each one
// question at a time, each question for a key whose unlock has no certificate yet. The floor, in turn with it
// in this process: bare commits by SQLite on the same disk.
//
//   issue_rate FOLDER LOGIN AGENTS ROUNDS <lines       FOLDER: for the floor's database; -: no floor
//
// stdin: a join token for AGENTS VMs, then one fingerprint a line, each asked for once. Prints JSON.

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "tests/bench/commit_floor.h"
#include "tests/bench/hub_client.h"
#include "tests/bench/timing.h"

namespace latchkey::bench {
namespace {

constexpr double kFloorSeconds = 0.7;
constexpr double kIssueSeconds = 1.2;

struct Plan {
    std::filesystem::path folder;
    Login login;
    unsigned agents = 16;
    int rounds = 3;
    protocol::JoinToken token;
    std::vector<Fingerprint> keys;
};

Result<Plan> read_plan(char** words) {
    Plan plan;
    plan.folder = words[1];
    LK_TRY(login, Login::parse(words[2]));
    plan.login = login;
    plan.agents = static_cast<unsigned>(std::max(std::atoi(words[3]), 1));
    plan.rounds = std::max(std::atoi(words[4]), 1);
    std::string line;
    std::getline(std::cin, line);
    LK_TRY(token, protocol::JoinToken::parse(line));
    plan.token = std::move(token);
    while (std::getline(std::cin, line)) {
        LK_TRY(key, Fingerprint::parse(line));
        plan.keys.push_back(key);
    }
    return plan;
}

class Fleet {
public:
    explicit Fleet(const Plan& plan) : plan_(plan) {}

    Status join() {
        for (unsigned i = 0; i < plan_.agents; ++i) {
            LK_TRY(name, VmName::parse("bench-vm-" + std::to_string(i)));
            LK_TRY(client, HubClient::join(plan_.token, name));
            clients_.push_back(std::move(client));
        }
        return {};
    }

    // Until the time is over or the round's share of the keys is used up.
    Result<double> issues_per_second() {
        const std::size_t end =
            std::min(plan_.keys.size(), next_ + plan_.keys.size() / static_cast<std::size_t>(plan_.rounds));
        const std::size_t begin = next_;
        std::atomic<std::size_t> done{0};
        const Stopwatch watch;
        std::vector<std::thread> threads;
        for (HubClient& client : clients_) {
            threads.emplace_back([&] {
                while (watch.seconds() < kIssueSeconds) {
                    const std::size_t mine = next_.fetch_add(1);
                    if (mine >= end) return;
                    if (!ask(client, plan_.keys[mine])) return;
                    done.fetch_add(1);
                }
            });
        }
        for (std::thread& thread : threads) thread.join();
        const double rate = static_cast<double>(done.load()) / watch.seconds();
        if (!status_) return fail(status_.error());
        next_ = std::max(end, begin);
        issued_ += done.load();
        return rate;
    }

    std::size_t issued() const { return issued_; }

private:
    bool ask(HubClient& client, const Fingerprint& key) {
        const auto grant = client.fetch(plan_.login, key);
        if (grant && grant->decision == protocol::GrantDecision::kAllow) return true;
        const std::lock_guard lock(status_mutex_);
        status_ = grant ? fail(Code::kRefused, "denied: " + grant->reason) : fail(grant.error());
        return false;
    }

    const Plan& plan_;
    std::vector<HubClient> clients_;
    std::atomic<std::size_t> next_{0};
    std::size_t issued_ = 0;
    std::mutex status_mutex_;
    Status status_;
};

Result<double> floor_of(const Plan& plan, unsigned writers) {
    if (plan.folder == "-") return 0.0; // another store's, measured elsewhere
    return commits_per_second(plan.folder, writers, kFloorSeconds);
}

Status run(char** words) {
    LK_TRY(plan, read_plan(words));
    Fleet fleet(plan);
    LK_CHECK(fleet.join());
    std::vector<double> alone;
    std::vector<double> sharing;
    std::vector<double> issues;
    std::vector<double> ratios;
    for (int round = 0; round < plan.rounds; ++round) {
        LK_TRY(one, floor_of(plan, 1));
        LK_TRY(issued, fleet.issues_per_second());
        LK_TRY(many, floor_of(plan, plan.agents));
        alone.push_back(one);
        sharing.push_back(many);
        issues.push_back(issued);
        ratios.push_back(one > 0 ? issued / std::max(one, many) : 0);
    }
    std::printf(
        "{\"issues_per_second\": %.0f, \"issued\": %zu, \"commits_one_writer\": %.0f, "
        "\"commits_sharing\": %.0f, \"ratio\": %.4f}\n",
        median(issues), fleet.issued(), median(alone), median(sharing), median(ratios));
    return {};
}

} // namespace
} // namespace latchkey::bench

int main(int argc, char** argv) {
    if (argc != 5) {
        std::fprintf(stderr, "usage: issue_rate FOLDER LOGIN AGENTS ROUNDS <lines\n");
        return 2;
    }
    const auto done = latchkey::bench::run(argv);
    if (done) return 0;
    std::fprintf(stderr, "issue_rate: %s\n", done.error().line().c_str());
    return 1;
}
