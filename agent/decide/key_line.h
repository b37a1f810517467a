// SPDX-License-Identifier: Apache-2.0
#pragma once
// The lines that the helper prints for sshd: options, then the CA's key (a certificate was offered) or the
// plain key. Everything is off by `restrict`, then on what policy and the certificate both allow; the
// certificate's own constraints stand in the options, because sshd judges a plain key by them alone. A line
// that sshd could misread or that contradicts the certificate is left out. Any thread.

#include <string>
#include <vector>

#include "agent/decide/verified_grant.h"

namespace latchkey::agent {

struct KeyLines {
    std::vector<std::string> lines;
    std::string why_none; // of the last line left out; empty where none was
};

// ends_at_wall: the grant's end on the VM's own clock.
KeyLines key_lines(const VerifiedGrant& grant, bool certificate_offered, Micros ends_at_wall);

} // namespace latchkey::agent
