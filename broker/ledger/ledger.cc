// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/ledger.h"

#include "broker/ledger/audit.h"
#include "broker/ledger/chain.h"
#include "broker/ledger/connector.h"
#include "broker/ledger/contradictions.h"
#include "broker/ledger/ear.h"
#include "broker/ledger/figures.h"
#include "broker/ledger/listeners.h"
#include "broker/ledger/migrations.h"
#include "broker/ledger/random_word.h"
#include "broker/ledger/readers.h"
#include "broker/ledger/rows.h"
#include "broker/ledger/seal.h"
#include "broker/ledger/tamper_log.h"
#include "broker/ledger/writer.h"

namespace latchkey::ledger {
namespace {

Status check_data_key(Transaction& t) {
    LK_TRY(row, query_one(t, "SELECT value FROM settings WHERE name = $1", kDataKeySetting));
    if (row) {
        if (get_setting(t, kDataKeySetting)) return {};
        return fail(Code::kConfig, "the data key does not fit this database",
                    "point data_key at the key that this database was made with");
    }
    LK_TRY(used, query_one(t, "SELECT 1 FROM audit LIMIT 1"));
    if (used) {
        return fail(Code::kTampered, "the database has lost its mark of the data key",
                    "restore the last backup");
    }
    LK_CHECK(create_chain(t));
    return put_setting(t, kDataKeySetting, "fits");
}

// In a transaction of its own, before writer and readers start.
Status first_contact(plugin_host::Connection& connection, const Sealer& sealer, const Clock& clock,
                     Listeners::Counts& counts) {
    LK_CHECK(check_schema(connection));
    TamperLog unheard; // a wrong data key is one error, not a tampered row
    Scratch scratch;
    scratch.is_writing = true;
    Transaction t(connection, sealer, clock.now(), scratch, unheard);
    LK_CHECK(connection.begin(true));
    Status status = check_data_key(t);
    if (status) {
        auto read = Listeners::read_counts(t);
        if (read) counts = *read;
        if (!read) status = fail(read.error());
    }
    if (status && scratch.head) status = write_chain_head(t);
    if (status) return connection.commit();
    LK_CHECK(connection.rollback());
    return status;
}

} // namespace

RowId Transaction::new_id() const {
    std::uint64_t id = 0;
    while (id == 0) id = random_number() & INT64_MAX;
    return {id};
}

struct Ledger::State {
    State(Sealer keys, plugin_host::Store& store) : sealer(std::move(keys)), connector(store) {}
    Sealer sealer;
    TamperLog tampered;
    LedgerFigures figures;
    Connector connector;
    Listeners listeners;
    std::unique_ptr<Readers> readers;
    std::unique_ptr<Writer> writer;
    std::unique_ptr<Ear> ear; // the threads are last: they end first
};

Ledger::Ledger(std::unique_ptr<State> state) : state_(std::move(state)) {}
Ledger::~Ledger() = default;

Status Ledger::migrate(plugin_host::Store& store) {
    LK_TRY(connection, store.connect());
    // Nothing is written where nothing is due: a broker's role need not be one that may change the schema.
    const Status fits = check_schema(*connection);
    if (fits) return {};
    Status applied = apply_migrations(*connection, store.dialect());
    if (applied || applied.error().code != Code::kConfig) return applied;
    return fail(Code::kConfig, fits.error().message + ", and this role may not change it",
                "run: latchkeyd migrate, by a configuration that names the role which owns the database");
}

Result<std::unique_ptr<Ledger>> Ledger::open(plugin_host::Store& store, Options options) {
    if (options.clock == nullptr) return fail(Code::kInternal, "a ledger without a clock");
    const Clock& clock = *options.clock;
    LK_TRY(sealer, Sealer::make(options.data_key));
    auto state = std::make_unique<State>(std::move(sealer), store);
    LK_TRY(connection, store.connect());
    Listeners::Counts counts;
    LK_CHECK(first_contact(*connection, state->sealer, clock, counts));
    state->listeners.begin_at(counts);
    std::vector<std::unique_ptr<plugin_host::Connection>> reading;
    for (unsigned i = 0; i < std::max(1u, options.readers); ++i) {
        LK_TRY(reader, store.connect());
        reading.push_back(std::move(reader));
    }
    state->readers = std::make_unique<Readers>(
        Readers::Parts{state->connector, state->sealer, clock, state->tampered}, std::move(reading));
    state->writer = std::make_unique<Writer>(
        Writer::Parts{state->connector, state->sealer, clock, state->tampered, state->listeners,
                      options.max_waiting, options.settle_for, store.listens()},
        std::move(connection));
    state->tampered.on_note([writer = state->writer.get()] { writer->wake(); });
    if (store.listens() && options.hears_others) {
        state->ear = std::make_unique<Ear>(
            Ear::Parts{state->connector, state->sealer, clock, state->tampered, state->listeners});
    }
    return std::unique_ptr<Ledger>(new Ledger(std::move(state)));
}

void Ledger::describe(metrics::Registry& registry) const {
    state_->figures.describe(registry);
    state_->writer->figures().describe(registry);
    registry.add_counter("latchkey_tampered_rows_total", "Different rows that failed their MAC.",
                         [this] { return static_cast<double>(tampered_rows()); });
}

std::uint64_t Ledger::tampered_rows() const {
    return state_->tampered.count();
}

void Ledger::on_epoch(std::function<void(Epoch)> listener) {
    state_->listeners.on_epoch(std::move(listener));
}

void Ledger::on_access_taken(std::function<void()> listener) {
    state_->listeners.on_access_taken(std::move(listener));
}

void Ledger::on_policy_change(std::function<void()> listener) {
    state_->listeners.on_policy_change(std::move(listener));
}

Status Ledger::run_read(const std::function<Status(Transaction&)>& job, Reading reading) {
    const metrics::Stopwatch watch(state_->figures.reading);
    Status status = state_->readers->run(job, reading);
    if (LedgerFigures::is_failure(status)) state_->figures.reads_failed.add();
    return status;
}

Status Ledger::run_write(const std::function<Status(Transaction&)>& job) {
    const metrics::Stopwatch watch(state_->figures.writing);
    Status status = state_->writer->run(job);
    if (LedgerFigures::is_failure(status)) state_->figures.writes_failed.add();
    return status;
}

} // namespace latchkey::ledger
