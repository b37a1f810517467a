// SPDX-License-Identifier: Apache-2.0
#pragma once
// PostgreSQL 15 as the store of any number of brokers. Settings: see settings.h. It connects when it is asked
// to; retries and back-off are the host's.

#include <memory>

#include "plugins/postgres/settings.h"
#include "plugins/sdk/plugin.h"

namespace latchkey::postgres {

class PostgresStore : public sdk::StorePlugin {
public:
    static constexpr bool kListens = true;
    static constexpr bool kPosts = true;

    static Result<std::unique_ptr<PostgresStore>> open(const sdk::Host& host);

    const char* dialect() const override { return "postgres"; }
    Result<std::unique_ptr<sdk::StoreConnection>> connect() override;

private:
    explicit PostgresStore(Settings settings) : settings_(std::move(settings)) {}

    const Settings settings_;
};

} // namespace latchkey::postgres
