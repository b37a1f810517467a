// SPDX-License-Identifier: Apache-2.0
#include "plugins/sdk/plugin.h"

#include "plugins/totp/totp.h"

LK_PLUGIN(latchkey::totp::Totp, "totp", LATCHKEY_VERSION)
