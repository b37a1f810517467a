// SPDX-License-Identifier: Apache-2.0
#include "plugins/sdk/plugin.h"

#include "plugins/postgres/postgres_store.h"

LK_PLUGIN(latchkey::postgres::PostgresStore, "postgres", LATCHKEY_VERSION)
