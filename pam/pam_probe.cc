// SPDX-License-Identifier: Apache-2.0
// A PAM application for tests: calls the functions named, in order, on one handle, and prints each return
// code by name, one a line. What the module says or asks is printed as well; without a code to type, nobody
// can be asked.
//   pam_probe CONFDIR SERVICE USER [rhost=HOST] [ruser=USER] [code=TEXT] [NAME=VALUE]...
//             authenticate|setcred|acct_mgmt|open_session|close_session ...
#include <security/pam_appl.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

namespace {

int converse(int count, const pam_message** messages, pam_response** answers, void* data) {
    const char* code = *static_cast<const char**>(data);
    auto* given =
        static_cast<pam_response*>(std::calloc(static_cast<std::size_t>(count), sizeof(pam_response)));
    for (int i = 0; i < count; ++i) {
        const bool is_prompt = messages[i]->msg_style == PAM_PROMPT_ECHO_OFF;
        const bool is_ours = std::string_view(messages[i]->msg).starts_with("Latchkey"); // not pam_debug's
        if (is_ours) std::printf("%s <%s>\n", is_prompt ? "asks" : "says", messages[i]->msg);
        if (!is_prompt) continue;
        if (code == nullptr) {
            std::free(given);
            return PAM_CONV_ERR;
        }
        given[i].resp = ::strdup(code);
    }
    *answers = given;
    return PAM_SUCCESS;
}

int call(pam_handle_t* handle, std::string_view name) {
    if (name == "authenticate") return ::pam_authenticate(handle, PAM_SILENT);
    if (name == "setcred") return ::pam_setcred(handle, PAM_REINITIALIZE_CRED);
    if (name == "acct_mgmt") return ::pam_acct_mgmt(handle, 0);
    if (name == "open_session") return ::pam_open_session(handle, 0);
    if (name == "close_session") return ::pam_close_session(handle, 0);
    return PAM_ABORT;
}

const char* name_of(int code) {
    switch (code) {
        case PAM_SUCCESS:
            return "success";
        case PAM_PERM_DENIED:
            return "perm_denied";
        case PAM_AUTH_ERR:
            return "auth_err";
        case PAM_CRED_INSUFFICIENT:
            return "cred_insufficient";
        case PAM_USER_UNKNOWN:
            return "user_unknown";
        case PAM_AUTHTOK_EXPIRED:
            return "ignore"; // what the tests' stack makes of PAM_IGNORE
        default:
            return ::pam_strerror(nullptr, code);
    }
}

} // namespace

int main(int count, char** words) {
    if (count < 4) return 2;
    const char* code = nullptr;
    const pam_conv conversation{converse, static_cast<void*>(&code)};
    pam_handle_t* handle = nullptr;
    if (::pam_start_confdir(words[2], words[3], &conversation, words[1], &handle) != PAM_SUCCESS) return 2;
    int result = PAM_SUCCESS;
    for (int i = 4; i < count; ++i) {
        const std::string_view word = words[i];
        if (word.starts_with("rhost=")) {
            static_cast<void>(::pam_set_item(handle, PAM_RHOST, words[i] + std::strlen("rhost=")));
        } else if (word.starts_with("ruser=")) {
            static_cast<void>(::pam_set_item(handle, PAM_RUSER, words[i] + std::strlen("ruser=")));
        } else if (word.starts_with("code=")) {
            code = words[i] + std::strlen("code=");
        } else if (word.find('=') != std::string_view::npos) {
            static_cast<void>(::pam_putenv(handle, words[i]));
        } else {
            result = call(handle, word);
            std::puts(name_of(result));
            std::fflush(stdout); // the module may end this process in its next call
        }
    }
    static_cast<void>(::pam_end(handle, result));
    return 0;
}
