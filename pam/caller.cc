// SPDX-License-Identifier: Apache-2.0
#include "pam/caller.h"

#include <pwd.h>
#include <security/pam_ext.h>
#include <security/pam_modutil.h>
#include <syslog.h>

#include <cstdlib>
#include <cstring>

namespace latchkey::pam {
namespace {

constexpr const char* kBoundKey = "latchkey-bound-session";
constexpr const char* kSteppedUpKey = "latchkey-stepped-up";
char marker; // its address is the remembered value; nothing is owned

} // namespace

Result<Login> Caller::login() const {
    const std::string given = item(PAM_USER);
    if (given.empty()) return fail(Code::kNotFound, "PAM names no user");
    const passwd* account = ::pam_modutil_getpwnam(handle_, given.c_str());
    return Login::parse(account == nullptr ? given : account->pw_name);
}

bool Caller::is_called_by_root() const {
    const std::string name = item(PAM_RUSER);
    const passwd* account = name.empty() ? nullptr : ::pam_modutil_getpwnam(handle_, name.c_str());
    return account != nullptr && account->pw_uid == 0;
}

std::string Caller::item(int type) const {
    const void* value = nullptr;
    if (::pam_get_item(handle_, type, &value) != PAM_SUCCESS || value == nullptr) return {};
    return static_cast<const char*>(value);
}

std::string Caller::environment(const char* name) const {
    const char* value = ::pam_getenv(handle_, name);
    return value == nullptr ? "" : value;
}

void Caller::log(int priority, const std::string& line) const {
    ::pam_syslog(handle_, priority, "%s", line.c_str());
}

bool Caller::remember_bound() const {
    return remember(kBoundKey);
}

bool Caller::is_bound() const {
    return remembers(kBoundKey);
}

bool Caller::remember_stepped_up() const {
    return remember(kSteppedUpKey);
}

bool Caller::has_stepped_up() const {
    return remembers(kSteppedUpKey);
}

bool Caller::remember(const char* key) const {
    return ::pam_set_data(handle_, key, &marker, nullptr) == PAM_SUCCESS;
}

bool Caller::remembers(const char* key) const {
    const void* value = nullptr;
    return ::pam_get_data(handle_, key, &value) == PAM_SUCCESS && value == &marker;
}

void Caller::tell(const std::string& line) const {
    static_cast<void>(::pam_prompt(handle_, PAM_ERROR_MSG, nullptr, "%s", line.c_str()));
}

Result<SecretBytes> Caller::prompt(const std::string& text) const {
    char* answer = nullptr;
    const int code = ::pam_prompt(handle_, PAM_PROMPT_ECHO_OFF, &answer, "%s", text.c_str());
    if (code != PAM_SUCCESS || answer == nullptr) {
        std::free(answer);
        return fail(Code::kRefused, "nobody can be asked for a code");
    }
    const std::size_t size = std::strlen(answer);
    SecretBytes given(ByteView(reinterpret_cast<const std::uint8_t*>(answer), size));
    wipe({reinterpret_cast<std::uint8_t*>(answer), size});
    std::free(answer);
    return given;
}

} // namespace latchkey::pam
