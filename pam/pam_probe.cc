// SPDX-License-Identifier: Apache-2.0
// A PAM application for tests: calls the functions named, in order, on one handle, and prints each return
// code by name, one a line.
//   pam_probe CONFDIR SERVICE USER [rhost=HOST] [NAME=VALUE]... acct_mgmt|open_session|close_session ...
#include <security/pam_appl.h>

#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>

namespace {

int no_conversation(int, const pam_message**, pam_response**, void*) {
    return PAM_CONV_ERR;
}

int call(pam_handle_t* handle, std::string_view name) {
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
    const pam_conv conversation{no_conversation, nullptr};
    pam_handle_t* handle = nullptr;
    if (::pam_start_confdir(words[2], words[3], &conversation, words[1], &handle) != PAM_SUCCESS) return 2;
    int code = PAM_SUCCESS;
    for (int i = 4; i < count; ++i) {
        const std::string_view word = words[i];
        if (word.starts_with("rhost=")) {
            static_cast<void>(::pam_set_item(handle, PAM_RHOST, words[i] + std::strlen("rhost=")));
        } else if (word.find('=') != std::string_view::npos) {
            static_cast<void>(::pam_putenv(handle, words[i]));
        } else {
            code = call(handle, word);
            std::puts(name_of(code));
            std::fflush(stdout); // the module may end this process in its next call
        }
    }
    static_cast<void>(::pam_end(handle, code));
    return 0;
}
