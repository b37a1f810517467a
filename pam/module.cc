// SPDX-License-Identifier: Apache-2.0
// The six entries of pam_latchkey.so: the boundary between libpam's C and us. Nothing is thrown across it,
// and whatever fails here refuses.

#include <security/pam_ext.h>
#include <security/pam_modules.h>
#include <syslog.h>
#include <unistd.h>

#include "pam/facilities.h"
#include "pam/step_up.h"

namespace latchkey::pam {
namespace {

using Facility = int (*)(const Caller&, const Options&);

struct Outcome {
    int code = PAM_SYSTEM_ERR;
    OnRefusal on_refusal = OnRefusal::kByService;
};

Outcome run(pam_handle_t* handle, int count, const char** words, Facility facility) noexcept {
    Outcome outcome;
    try {
        const Caller caller(handle);
        const Options options = read_options({words, static_cast<std::size_t>(count)});
        outcome.on_refusal = options.on_refusal;
        for (const std::string& word : options.unknown)
            caller.log(LOG_ERR, "unknown option " + word + "; it is skipped, correct it in /etc/pam.d");
        outcome.code = facility(caller, options);
        if (options.debug) caller.log(LOG_DEBUG, "returns " + std::to_string(outcome.code));
    } catch (...) {
        ::pam_syslog(handle, LOG_CRIT, "deny: out of memory");
        outcome.code = PAM_BUF_ERR;
    }
    return outcome;
}

// A failed session alone leaves `ssh -N` connected, so sshd's process ends here. Neither its atexit handlers
// nor libpam's clean-up run: the kernel closes the connection and logind sees its session's leader go.
int refuse_session(pam_handle_t* handle, const Outcome& outcome) noexcept {
    const void* service = nullptr;
    if (::pam_get_item(handle, PAM_SERVICE, &service) != PAM_SUCCESS) service = "sshd";
    if (ends_process(outcome.on_refusal, static_cast<const char*>(service))) ::_exit(255);
    return outcome.code;
}

} // namespace
} // namespace latchkey::pam

#define LK_PAM_ENTRY extern "C" __attribute__((visibility("default")))

LK_PAM_ENTRY int pam_sm_acct_mgmt(pam_handle_t* handle, int /*flags*/, int count, const char** words) {
    return latchkey::pam::run(handle, count, words, latchkey::pam::check_account).code;
}

LK_PAM_ENTRY int pam_sm_open_session(pam_handle_t* handle, int /*flags*/, int count, const char** words) {
    const auto outcome = latchkey::pam::run(handle, count, words, latchkey::pam::open_session);
    if (outcome.code == PAM_SUCCESS || outcome.code == PAM_IGNORE) return outcome.code;
    return latchkey::pam::refuse_session(handle, outcome);
}

LK_PAM_ENTRY int pam_sm_close_session(pam_handle_t* handle, int /*flags*/, int count, const char** words) {
    return latchkey::pam::run(handle, count, words, latchkey::pam::close_session).code;
}

// sudo passes PAM_SILENT always; what is said here is said to be read.
LK_PAM_ENTRY int pam_sm_authenticate(pam_handle_t* handle, int /*flags*/, int count, const char** words) {
    return latchkey::pam::run(handle, count, words, latchkey::pam::authenticate).code;
}

LK_PAM_ENTRY int pam_sm_setcred(pam_handle_t* handle, int /*flags*/, int count, const char** words) {
    return latchkey::pam::run(handle, count, words, latchkey::pam::set_credentials).code;
}

// Not ours: who lists the module there by mistake is neither let in nor kept out by it.

LK_PAM_ENTRY int pam_sm_chauthtok(pam_handle_t* /*handle*/, int /*flags*/, int /*count*/,
                                  const char** /*words*/) {
    return PAM_IGNORE;
}
