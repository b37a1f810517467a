// SPDX-License-Identifier: Apache-2.0
#include "plugins/sdk/plugin.h"

#include "plugins/sqlite/sqlite_store.h"

LK_PLUGIN(latchkey::sqlite::SqliteStore, "sqlite", LATCHKEY_VERSION)
