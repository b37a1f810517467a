// SPDX-License-Identifier: Apache-2.0
#pragma once
// The words after pam_latchkey.so in a PAM file. Each default is the strict choice, so a word that we do not
// know is reported and skipped: it can only refuse more, never less.

#include <span>
#include <string>
#include <vector>

namespace latchkey::pam {

enum class OnRefusal {
    kByService = 1, // exit in services whose name begins with "sshd", else return
    kExit,          // end this process: `ssh -N` would stay connected after a mere session error
    kReturn
};

enum class Scope {
    kRequired = 1, // where logind runs, a managed session must sit in its own session-*.scope
    kOptional
};

struct Options {
    std::string socket = "/run/latchkey-agent/agent.sock";
    std::string managed = "/var/lib/latchkey-agent/managed-logins";
    OnRefusal on_refusal = OnRefusal::kByService;
    Scope scope = Scope::kRequired;
    bool debug = false;
    std::vector<std::string> unknown;
};

Options read_options(std::span<const char* const> words);
// Whether a refused session ends this process.
bool ends_process(OnRefusal on_refusal, const char* service) noexcept;

} // namespace latchkey::pam
