// SPDX-License-Identifier: Apache-2.0
// latchkey: the command line for people. `login` fetches the certificate and remembers the broker; `renew`
// fetches a new one where the old one ends soon; `ssh` renews and then runs ssh; `setup` prints the
// ssh_config lines that renew before each connection; `receipt verify` judges what VMs signed, without the
// broker; every other word goes to the broker.

#include <CLI/CLI.hpp>
#include <iostream>

#include "cli/profile.h"
#include "cli/receipt.h"
#include "cli/ssh_command.h"
#include "core/base/clock.h"
#include "core/cert/certificate.h"
#include "core/posix/file.h"

namespace latchkey::cli {
namespace {

constexpr std::uint64_t kRenewBeforeSeconds = 300;

Status fetch_certificate(const Profile& profile) {
    LK_TRY(output, run_for_output(broker_command(profile, {"cert"})));
    const std::string line = output.substr(0, output.find('\n'));
    auto certificate = cert::Certificate::from_line(line);
    if (!certificate) {
        return fail(Code::kMalformed, "the broker sent no certificate: " + certificate.error().message, "");
    }
    return posix::write_file(profile.certificate_file(), as_bytes(line + "\n"), 0644);
}

bool has_fresh_certificate(const Profile& profile) {
    const auto content = posix::read_file(profile.certificate_file(), cert::kMaxCertificateSize * 2);
    if (!content) return false;
    const std::string_view text = as_text(*content);
    const auto certificate = cert::Certificate::from_line(text.substr(0, text.find('\n')));
    if (!certificate) return false;
    const auto now = static_cast<std::uint64_t>(SystemClock().now().seconds());
    return certificate->content().valid_before > now + kRenewBeforeSeconds;
}

Status renew(const Profile& profile) {
    return has_fresh_certificate(profile) ? Status() : fetch_certificate(profile);
}

Status login(const std::string& target, const std::string& identity) {
    Profile known = read_profile(profile_file()).value_or({});
    if (!identity.empty()) {
        known.identity = std::filesystem::absolute(identity);
    } else if (known.identity.empty()) {
        LK_TRY(found, default_identity());
        known.identity = found;
    }
    LK_TRY(profile, parse_target(target, known));
    LK_CHECK(fetch_certificate(profile));
    LK_CHECK(write_profile(profile_file(), profile));
    std::cerr << "certificate in " << profile.certificate_file().string() << "\n";
    return {};
}

Status setup() {
    LK_TRY(profile, read_profile(profile_file()));
    std::cout << "# Latchkey: put this at the top of ~/.ssh/config, with the names of your VMs.\n"
              << "Match host \"*.example.org\" exec \"latchkey renew\"\n"
              << "    IdentityFile " << profile.identity.string() << "\n"
              << "    CertificateFile " << profile.certificate_file().string() << "\n";
    return {};
}

Status run_ssh(const std::vector<std::string>& words) {
    LK_TRY(profile, read_profile(profile_file()));
    LK_CHECK(renew(profile));
    std::vector<std::string> argv = {"ssh", "-i", profile.identity.string(), "-o",
                                     "CertificateFile=" + profile.certificate_file().string()};
    argv.insert(argv.end(), words.begin(), words.end());
    return fail(become(argv));
}

Status pass_on(const std::vector<std::string>& words) {
    LK_TRY(profile, read_profile(profile_file()));
    return fail(become(broker_command(profile, words)));
}

Status verify(const ReceiptSource& source) {
    LK_TRY(said, verify_receipts(source));
    std::cout << said << "\n";
    return {};
}

int report(const Status& status) {
    if (status) return 0;
    std::cerr << "latchkey: " << status.error().line() << "\n";
    return info(status.error().code).exit_status;
}

int run(int argc, char** argv) {
    CLI::App app("Short-lived SSH access. Other words are commands at the broker: try `latchkey help`.",
                 "latchkey");
    app.set_version_flag("--version", "latchkey " LK_VERSION);
    app.prefix_command();
    std::string target;
    std::string identity;
    CLI::App* login_words = app.add_subcommand("login", "fetch a certificate and remember the broker");
    login_words->add_option("target", target, "[user@]broker[:port]");
    login_words->add_option("-i,--identity", identity, "private key file");
    CLI::App* renew_words =
        app.add_subcommand("renew", "fetch a new certificate where the old one ends soon");
    CLI::App* setup_words =
        app.add_subcommand("setup", "print the ssh_config lines that renew before a connection");
    CLI::App* ssh_words = app.add_subcommand("ssh", "renew, then run ssh with these words");
    ssh_words->prefix_command();
    ReceiptSource source;
    CLI::App* receipt_words =
        app.add_subcommand("receipt", "what VMs signed about revocations, judged without the broker");
    receipt_words->require_subcommand(1);
    CLI::App* verify_words = receipt_words->add_subcommand("verify", "is it genuine? exit status 0 or 1");
    verify_words
        ->add_option("file", source.file,
                     "what `revoke show EPOCH --json` or `latchkey-agent receipts --json` printed; - reads "
                     "standard input")
        ->required();
    verify_words->add_option("--key", source.key, "file with the VM's public key (from: vm show V)");
    verify_words->add_option(
        "--known", source.known,
        "file of keys by VM (from: vm keys); default known_vms in the folder of the profile");
    verify_words->add_option("--vm", source.vm, "only this VM's receipts");
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        const int status = app.exit(error);
        return status == 0 ? 0 : info(Code::kUsage).exit_status;
    }
    if (login_words->parsed()) return report(login(target, identity));
    if (renew_words->parsed()) {
        auto profile = read_profile(profile_file());
        return report(profile ? renew(*profile) : Status(fail(profile.error())));
    }
    if (setup_words->parsed()) return report(setup());
    if (verify_words->parsed()) return report(verify(source));
    if (ssh_words->parsed()) return report(run_ssh(ssh_words->remaining()));
    return report(pass_on(app.remaining()));
}

} // namespace
} // namespace latchkey::cli

int main(int argc, char** argv) {
    try {
        return latchkey::cli::run(argc, argv);
    } catch (const std::exception& error) { // CLI11 and the standard library
        std::cerr << "latchkey: " << error.what() << "\n";
        return 4;
    }
}
