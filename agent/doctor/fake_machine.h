// SPDX-License-Identifier: Apache-2.0
#pragma once
// For tests: a Debian VM in memory with Latchkey in good order, to be broken on purpose. Its sshd reads the
// files as sshd does (first value wins), -f and -o included; what sshd -t refuses is a line "Garbage". The
// state folder is a real one in a temporary folder, since StateFolder reads the disk itself.

#include <fnmatch.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <set>

#include "agent/doctor/checks.h"
#include "agent/fixture/folder.h"
#include "core/posix/file.h"

namespace latchkey::agent::doctor {

struct KilledHere {}; // thrown in place of a kill -9: the test catches it

struct FakeFile {
    std::string content;
    mode_t mode = 0644;
    uid_t owner = 0;
    gid_t group = 0;
    FileKind kind = FileKind::kFile;
    std::string target; // of a link
};

class FakeMachine : public Machine {
public:
    std::map<std::string, FakeFile> files;
    std::map<std::string, uid_t> users = {
        {"root", 0}, {"latchkey-akc", 900}, {"nobody", 65534}, {"deploy", 1000}};
    std::vector<ProcessSeen> running;
    std::map<std::string, std::string> unit_states = {{"ssh.service", "active"},
                                                      {"systemd-logind.service", "active"},
                                                      {"latchkey-agent.service", "active"}};
    std::string unit_text = "ExecStart=/usr/sbin/sshd -D $SSHD_OPTS\n";
    std::string sshd_version = "OpenSSH_9.2p1 Debian-2";
    std::map<std::string, std::vector<std::string>> names = {{"broker.example.org", {"192.0.2.1"}}};
    Status greeting;
    Result<protocol::AgentStatusAnswer> agent = fail(Code::kUnavailable, "nobody listens");
    bool root = true;
    bool sshd_refuses_installed = false; // says no to what is installed, though it took the trial
    int changes_until_killed = -1;       // kill -9 before the change of that number
    std::vector<std::string> done;       // reloads, restarts
    int changes = 0;

    FakeMachine() {
        const StateFolder state(folder.path());
        EXPECT_TRUE(state.make());
        EXPECT_TRUE(state.load_or_make_identity());
        BrokerPin pin{{"broker.example.org", 7443},
                      *Fingerprint::parse("SHA256:Ds2vMh82eTGCWjuFiFlBqoQGzsJ9I4V2edBxiPnGchE"),
                      {7},
                      *VmName::parse("web-1")};
        EXPECT_TRUE(state.begin_with(pin));
        EXPECT_TRUE(state.save_managed_logins({*Login::parse("deploy")}));
        protocol::AgentStatusAnswer answer;
        answer.connected = true;
        answer.serving = true;
        answer.version = LATCHKEY_VERSION;
        answer.managed_logins = {*Login::parse("deploy")};
        agent = answer;
        put("/etc/latchkey/agent.toml",
            "state_dir = \"" + folder.path().string() + "\"\nlocal_logins = [\"rescue\"]\n");
        put("/etc/ssh/sshd_config",
            "Include /etc/ssh/sshd_config.d/*.conf\nUsePAM yes\nMaxStartups 100:30:200\n");
        put("/etc/ssh/sshd_config.d/00-latchkey.conf",
            "AuthorizedPrincipalsCommand none\nAuthorizedKeysCommand " + std::string(kHelperPath) +
                " %u %t %k %f\nAuthorizedKeysCommandUser latchkey-akc\n");
        put("/etc/pam.d/sshd",
            "@include common-auth\naccount required pam_latchkey.so\naccount required pam_nologin.so\n"
            "@include common-account\nsession required pam_loginuid.so\n@include common-session\n"
            "session required pam_latchkey.so\nsession optional pam_motd.so\n");
        put("/etc/pam.d/common-auth",
            "auth [success=1 default=ignore] pam_unix.so nullok\nauth requisite pam_deny.so\n");
        put("/etc/pam.d/common-account",
            "account [success=1 new_authtok_reqd=done default=ignore] pam_unix.so\naccount requisite "
            "pam_deny.so\naccount required pam_permit.so\n");
        put("/etc/pam.d/common-session",
            "session [default=1] pam_permit.so\nsession requisite pam_deny.so\nsession required "
            "pam_permit.so\nsession required pam_unix.so\nsession optional pam_systemd.so\n");
        put("/usr/lib/x86_64-linux-gnu/security/pam_latchkey.so", "ELF");
        put(std::string(kHelperPath), "ELF", 0755);
        for (const char* name : {"/usr", "/usr/libexec", "/usr/libexec/latchkey", "/run/systemd/system"})
            files[name] = {"", 0755, 0, 0, FileKind::kFolder, {}};
        running = {{100, 1, 0, "sshd", "sshd: /usr/sbin/sshd -D [listener] 0 of 100-200 startups",
                    "/usr/sbin/sshd"}};
    }

    void put(const std::string& path, const std::string& content, mode_t mode = 0644) {
        files[path] = {content, mode, 0, 0, FileKind::kFile, {}};
    }
    std::string text(const std::string& path) { return files.at(path).content; }

    bool is_root() override { return root; }
    Result<std::string> read(const std::string& path) override {
        const auto real = real_path(path);
        if (!real) return fail(real.error());
        return files.at(*real).content;
    }
    Result<FileFacts> look(const std::string& path) override {
        if (is_state(path)) {
            std::error_code problem;
            const auto status = std::filesystem::status(path, problem);
            if (!std::filesystem::exists(status)) return fail(Code::kNotFound, "no such file: " + path);
            const bool is_folder = status.type() == std::filesystem::file_type::directory;
            return FileFacts{is_folder ? FileKind::kFolder : FileKind::kFile,
                             static_cast<mode_t>(status.permissions()), 0, 0, 1};
        }
        const auto found = files.find(path);
        if (found == files.end()) return fail(Code::kNotFound, "no such file: " + path);
        const FakeFile& file = found->second;
        return FileFacts{file.kind, file.mode, file.owner, file.group, file.content.size()};
    }
    Result<std::string> real_path(const std::string& path) override {
        const auto found = files.find(path);
        if (found == files.end()) return fail(Code::kNotFound, "no such file: " + path);
        return found->second.kind == FileKind::kLink ? real_path(found->second.target) : path;
    }
    std::vector<std::string> glob(const std::string& pattern) override {
        std::vector<std::string> found;
        if (is_state(pattern)) {
            for (const auto& entry : std::filesystem::directory_iterator(folder.path()))
                found.push_back(entry.path().string());
        }
        for (const auto& [path, file] : files) {
            if (::fnmatch(pattern.c_str(), path.c_str(), FNM_PATHNAME) == 0) found.push_back(path);
        }
        return found;
    }
    Result<Ran> run(const Words& argv, Micros /*limit*/) override {
        if (argv[0] == "/usr/sbin/sshd") return run_sshd(argv);
        if (argv[0] == "getent") return run_getent(argv[2]);
        if (argv[1] == "cat") {
            if (argv[3] != "ssh.service") return Ran{1, "", ""};
            return Ran{0, unit_text, ""};
        }
        if (argv[1] == "is-active") {
            const auto state = unit_states.find(argv[2]);
            if (state == unit_states.end()) return Ran{3, "inactive\n", ""};
            return Ran{state->second == "active" ? 0 : 3, state->second + "\n", ""};
        }
        done.push_back(argv[1] + " " + argv[2]);
        return Ran{0, "", ""};
    }
    std::vector<ProcessSeen> processes() override { return running; }
    std::optional<uid_t> user_id(const std::string& name) override {
        const auto found = users.find(name);
        if (found == users.end()) return std::nullopt;
        return found->second;
    }
    std::string user_name(uid_t user) override { return std::to_string(user); }
    Result<protocol::AgentStatusAnswer> ask_agent(const std::string& /*socket*/) override { return agent; }
    Status greet_broker(const StateFolder& /*state*/, const protocol::BrokerAddress& /*at*/,
                        const Fingerprint& /*key*/, Micros /*limit*/) override {
        return greeting;
    }
    Micros now() override { return from_seconds(1'700'000'000); }
    void pause(Micros /*time*/) override {}

    Status write(const std::string& path, const std::string& content, mode_t mode) override {
        count_change();
        const auto real = real_path(path);
        FakeFile& file = files[real ? *real : path];
        file.content = content;
        file.mode = mode;
        return {};
    }
    Status make_link(const std::string& path, const std::string& target) override {
        count_change();
        files[path] = {"", 0777, 0, 0, FileKind::kLink, target};
        return {};
    }
    Status remove(const std::string& path) override {
        count_change();
        files.erase(path);
        return {};
    }
    Status set_owner_and_mode(const std::string& path, uid_t owner, gid_t group, mode_t mode) override {
        count_change();
        if (is_state(path)) {
            std::filesystem::permissions(path, static_cast<std::filesystem::perms>(mode));
            return {};
        }
        FakeFile& file = files.at(path);
        file.owner = owner;
        file.group = group;
        file.mode = mode;
        return {};
    }
    Result<std::string> stage(const std::map<std::string, std::string>& staged) override {
        const std::string name = "/run/latchkey-doctor.trial" + std::to_string(++trials_);
        for (const auto& [file, content] : staged) {
            std::string filled = content;
            static constexpr std::string_view mark = "@FOLDER@";
            for (std::size_t at = 0; (at = filled.find(mark, at)) != std::string::npos; at += name.size())
                filled.replace(at, mark.size(), name);
            put(name + "/" + file, filled, 0600);
        }
        return name;
    }
    Status hang_up(pid_t pid) override {
        done.push_back("SIGHUP " + std::to_string(pid));
        return {};
    }

    fixture::Folder folder;

private:
    bool is_state(const std::string& path) const { return path.starts_with(folder.path().string()); }
    void count_change() {
        if (changes++ == changes_until_killed) throw KilledHere{};
    }

    Result<Ran> run_getent(const std::string& host) {
        Ran ran{2, "", ""};
        const auto found = names.find(host);
        if (found == names.end()) return ran;
        ran.status = 0;
        for (const std::string& address : found->second) ran.out += address + " STREAM " + host + "\n";
        return ran;
    }

    Result<Ran> run_sshd(const Words& argv) {
        if (argv[1] == "-V") return Ran{1, "", sshd_version + "\n"};
        if (!root) return Ran{1, "", "sshd: no hostkeys available -- exiting.\n"};
        const SshdOptions given = parse_sshd_words(argv);
        const std::string main = given.config.empty() ? std::string(kMainConfig) : given.config;
        const auto read = read_sshd_files(*this, main);
        if (!read) return Ran{255, "", read.error().message + "\n"};
        const bool is_trial = main.starts_with("/run/");
        std::map<std::string, std::string> values = {{"usepam", "no"},
                                                     {"authorizedkeyscommand", "none"},
                                                     {"authorizedkeyscommanduser", "none"},
                                                     {"authorizedprincipalscommand", "none"},
                                                     {"trustedusercakeys", "none"},
                                                     {"revokedkeys", "none"},
                                                     {"passwordauthentication", "yes"},
                                                     {"authorizedkeysfile", ".ssh/authorized_keys"},
                                                     {"fingerprinthash", "SHA256"},
                                                     {"maxstartups", "10:30:100"}};
        std::set<std::string> set;
        const auto take = [&](const Directive& one) {
            const bool forgets = one.keyword == "authorizedprincipalscommand" &&
                                 set.contains("authorizedkeyscommand") &&
                                 sshd_version.find("_9.2") != std::string::npos;
            if (!forgets && set.insert(one.keyword).second) values[one.keyword] = one.value;
        };
        for (const std::string& option : given.options) take(parse_line(option));
        for (const Directive& one : read->directives) {
            const bool refused =
                one.keyword == "garbage" || (sshd_refuses_installed && !is_trial && changes > 0);
            if (refused) return Ran{255, "", one.place() + ": Bad configuration option\n"};
            if (one.condition.empty() && one.keyword != "include") take(one);
        }
        Ran ran{0, "", ""};
        for (const auto& [keyword, value] : values) ran.out += keyword + " " + value + "\n";
        return ran;
    }

    int trials_ = 0;
};

inline constexpr const char* kConfigFile = "/etc/latchkey/agent.toml";

inline Findings examine(FakeMachine& machine) {
    return doctor::examine(look_around(machine, kConfigFile));
}

inline const Finding* find(const Findings& findings, std::string_view id, Severity severity) {
    for (const Finding& finding : findings) {
        if (finding.id == id && finding.severity == severity) return &finding;
    }
    return nullptr;
}

} // namespace latchkey::agent::doctor
