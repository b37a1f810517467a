// SPDX-License-Identifier: Apache-2.0
#include "pam/caller.h"

#include <pwd.h>
#include <security/pam_ext.h>
#include <security/pam_modutil.h>
#include <syslog.h>

namespace latchkey::pam {
namespace {

constexpr const char* kBoundKey = "latchkey-bound-session";
char bound_marker; // its address is the remembered value; nothing is owned

} // namespace

Result<Login> Caller::login() const {
    const std::string given = item(PAM_USER);
    if (given.empty()) return fail(Code::kNotFound, "PAM names no user");
    const passwd* account = ::pam_modutil_getpwnam(handle_, given.c_str());
    return Login::parse(account == nullptr ? given : account->pw_name);
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
    return ::pam_set_data(handle_, kBoundKey, &bound_marker, nullptr) == PAM_SUCCESS;
}

bool Caller::is_bound() const {
    const void* value = nullptr;
    return ::pam_get_data(handle_, kBoundKey, &value) == PAM_SUCCESS && value == &bound_marker;
}

} // namespace latchkey::pam
