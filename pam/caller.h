// SPDX-License-Identifier: Apache-2.0
#pragma once
// What libpam knows about the login at hand, read through its handle, which stays libpam's. One thread:
// PAM's.

#include <security/pam_modules.h>

#include <string>

#include "core/base/names.h"
#include "core/base/result.h"
#include "core/base/secret_bytes.h"

namespace latchkey::pam {

class Caller {
public:
    explicit Caller(pam_handle_t* handle) : handle_(handle) {}

    // The account's own name, as the user database spells it: a name service that ignores case must not lead
    // around the list of managed logins. kMalformed: a name that no managed login can have.
    Result<Login> login() const;
    bool is_called_by_root() const;                  // PAM_RUSER is an account of uid 0
    std::string item(int type) const;                // PAM_SERVICE, PAM_RHOST; empty where not set
    std::string environment(const char* name) const; // of PAM, not of the process

    // One line in authpriv, after libpam's own "pam_latchkey(service:facility): ".
    void log(int priority, const std::string& line) const;

    // Remembered from open_session to close_session of the same handle.
    bool remember_bound() const;
    bool is_bound() const;

    // The same from authenticate to setcred.
    bool remember_stepped_up() const;
    bool has_stepped_up() const;

    // One line for the person, where the application shows any.
    void tell(const std::string& line) const;
    // Asks the person without echo. kRefused: the application may not or cannot ask.
    Result<SecretBytes> prompt(const std::string& text) const;

private:
    bool remember(const char* key) const;
    bool remembers(const char* key) const;
    pam_handle_t* handle_;
};

} // namespace latchkey::pam
