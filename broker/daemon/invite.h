// SPDX-License-Identifier: Apache-2.0
#pragma once
// `latchkeyd invite NAME`: the way back in for whom nobody can let in, first of all the only admin who lost
// key or factor or was revoked. Whoever is root on the broker's machine holds its keys and needs no other
// right. Beside a running broker or without one, not beside a restore or copy.

#include <string>

#include "broker/daemon/config.h"

namespace latchkey::daemon {

// In one transaction, with `latchkeyd` as actor in the audit: removes the account's factors, ends its
// unlocks, undoes its lock and makes an invite, which is printed. Keys, role and groups stay. kNotFound for
// an account that is not there or was removed.
Status invite(const Config& config, const std::string& raw_name);

} // namespace latchkey::daemon
