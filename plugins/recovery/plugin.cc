// SPDX-License-Identifier: Apache-2.0
#include "plugins/sdk/plugin.h"

#include "plugins/recovery/recovery.h"

LK_PLUGIN(latchkey::recovery::Recovery, "recovery", LATCHKEY_VERSION)
