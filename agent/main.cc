// SPDX-License-Identifier: Apache-2.0
// latchkey-agent: join, first-boot, run, status, receipts, explain, doctor, version.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "agent/doctor/doctor.h"
#include "agent/run/commands.h"
#include "agent/version.h"

namespace latchkey::agent {
namespace {

int finish(const Status& status) {
    if (status) return 0;
    std::fprintf(stderr, "latchkey-agent: %s\n", status.error().line().c_str());
    return info(status.error().code).exit_status;
}

int run_program(int count, char** words) {
    CLI::App app{"Latchkey's agent: lets in whom the broker grants, and nobody else", "latchkey-agent"};
    app.require_subcommand(1);
    ConfigChoice config;
    const auto add_config = [&config](CLI::App* command) {
        command->add_option("--config", config.file, "configuration file (default /etc/latchkey/agent.toml)");
    };

    JoinArguments join_arguments;
    CLI::App* join_command = app.add_subcommand("join", "join this VM to a broker");
    add_config(join_command);
    join_command
        ->add_option("token", join_arguments.token,
                     "what `vm token` printed at the broker; - reads it from standard input")
        ->required();
    join_command->add_option("--name", join_arguments.name, "name of this VM (default: its host name)");
    join_command->add_option("--label", join_arguments.labels, "key=value, as often as you like");

    CLI::App* first_boot_command =
        app.add_subcommand("first-boot", "join by the token that a VM's image or cloud gave it, once it can");
    add_config(first_boot_command);

    RunArguments run_arguments;
    CLI::App* run_command = app.add_subcommand("run", "serve sshd and PAM on this VM");
    add_config(run_command);
    run_command->add_option("--ready-fd", run_arguments.ready_fd,
                            "write a line there once the local socket is open");
    run_command->add_flag("--foreground", run_arguments.is_foreground, "stamp log lines with the time");

    bool as_json = false;
    CLI::App* status_command = app.add_subcommand("status", "what the running agent knows (as root)");
    add_config(status_command);
    status_command->add_flag("--json", as_json, "one JSON document");

    CLI::App* receipts_command = app.add_subcommand(
        "receipts", "what this VM has signed about revocations, the newest 1,024 (as root)");
    add_config(receipts_command);
    receipts_command->add_flag("--json", as_json, "one JSON document, for: latchkey receipt verify");

    std::string explained_login;
    std::string explained_key;
    CLI::App* explain_command =
        app.add_subcommand("explain", "why this VM would let a key in as an account, or would not (as root)");
    add_config(explain_command);
    explain_command->add_option("login", explained_login, "the Unix account")->required();
    explain_command->add_option("key", explained_key, "the key's fingerprint, SHA256:…")->required();

    doctor::DoctorArguments doctor_arguments;
    CLI::App* doctor_command =
        app.add_subcommand("doctor", "what is wrong on this VM, and what to do (as root)");
    add_config(doctor_command);
    doctor_command->add_flag("--json", doctor_arguments.as_json, "one JSON document");
    doctor_command->add_flag("--all", doctor_arguments.shows_all, "also what is well");
    doctor_command->add_flag("--fix", doctor_arguments.fix,
                             "mend what is safe to mend, keeping the old files");

    CLI::App* version_command = app.add_subcommand("version", "print the version");

    try {
        app.parse(count, words);
    } catch (const CLI::ParseError& problem) {
        return app.exit(problem) == 0 ? 0 : info(Code::kUsage).exit_status;
    }
    if (version_command->parsed()) {
        std::printf("latchkey-agent %s\n", std::string(kAgentVersion).c_str());
        return 0;
    }
    if (join_command->parsed()) return finish(run_join(config, join_arguments));
    if (explain_command->parsed()) return finish(run_explain(config, explained_login, explained_key));
    if (first_boot_command->parsed()) return finish(run_first_boot(config));
    if (status_command->parsed()) return finish(run_status(config, as_json));
    if (receipts_command->parsed()) return finish(run_receipts(config, as_json));
    if (doctor_command->parsed()) {
        doctor_arguments.config_file = config.file;
        return doctor::run_doctor(doctor_arguments);
    }
    return finish(run_agent(config, run_arguments));
}

} // namespace
} // namespace latchkey::agent

int main(int count, char** words) {
    try {
        return latchkey::agent::run_program(count, words);
    } catch (const std::exception& problem) {
        std::fprintf(stderr, "latchkey-agent: %s\n", problem.what());
        return 4;
    }
}
