// SPDX-License-Identifier: Apache-2.0
#include "plugins/postgres/postgres_store.h"

#include "plugins/postgres/connection.h"

namespace latchkey::postgres {

Result<std::unique_ptr<PostgresStore>> PostgresStore::open(const sdk::Host& host) {
    LK_TRY(settings, Settings::read(host));
    return std::unique_ptr<PostgresStore>(new PostgresStore(std::move(settings)));
}

Result<std::unique_ptr<sdk::StoreConnection>> PostgresStore::connect() {
    LK_TRY(made, Connection::open(settings_));
    return std::unique_ptr<sdk::StoreConnection>(std::move(made));
}

} // namespace latchkey::postgres
