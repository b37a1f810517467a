// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/brokers.h"

#include <algorithm>

#include "broker/ledger/audit.h"
#include "broker/ledger/clean_text.h"
#include "broker/ledger/migrations.h"
#include "broker/ledger/random_word.h"
#include "broker/ledger/rows.h"

namespace latchkey::ledger {
namespace {

using protocol::SessionOutcome;

constexpr Micros kKept = from_seconds(24 * 3600);
constexpr std::size_t kVmsAtOnce = 64; // of one statement; the last one's places are filled up

std::string places_from(std::size_t first) {
    std::string text = "(";
    for (std::size_t i = 0; i < kVmsAtOnce; ++i) text += (i == 0 ? "$" : ", $") + std::to_string(first + i);
    return text + ")";
}

// In the order of their ids, so that two brokers that write the same rows wait for each other and do not
// block.
Status for_vms(Transaction& t, const std::string& sql, const std::vector<Value>& before,
               std::vector<VmId> vms) {
    std::sort(vms.begin(), vms.end());
    for (std::size_t begin = 0; begin < vms.size(); begin += kVmsAtOnce) {
        std::vector<Value> values = before;
        for (std::size_t i = 0; i < kVmsAtOnce; ++i)
            values.push_back(to_value(vms[std::min(begin + i, vms.size() - 1)]));
        LK_TRY(done, t.sql.run(sql, values));
    }
    return {};
}

} // namespace

RowId new_run() {
    std::uint64_t id = 0;
    while (id == 0) id = random_number() & INT64_MAX;
    return {id};
}

Status check_broker_keys(Transaction& t, const Fingerprint& identity, const Fingerprint& ledger_key) {
    const std::string name = "brokers.keys";
    const std::string ours = identity.str() + " " + ledger_key.str();
    LK_TRY(kept, get_setting(t, name));
    if (!kept) return put_setting(t, name, ours);
    if (*kept == ours) return {};
    return fail(
        Code::kConfig,
        "this broker's identity or ledger key is not the one that this database was first served with",
        "put broker_ed25519 and ledger_ed25519 back from your backup, or copy another broker's: "
        "docs/backup.md");
}

Status note_broker(Transaction& t, const BrokerRun& run) {
    LK_CHECK(execute(t, "DELETE FROM brokers WHERE seen_at < $1", t.now - kKept));
    return execute(t,
                   "INSERT INTO brokers (id, address, seen_at) VALUES ($1, $2, $3) "
                   "ON CONFLICT (id) DO UPDATE SET address = $2, seen_at = $3",
                   run.id, clean_text(run.address), t.now);
}

Status forget_broker(Transaction& t, RowId run) {
    return execute(t, "DELETE FROM brokers WHERE id = $1", run);
}

Status need_no_broker(plugin_host::Connection& connection, Micros now, Micros alive_for) {
    if (!check_schema(connection)) return {};
    const Value since[] = {to_value(now - alive_for)};
    LK_TRY(rows, connection.run(
                     "SELECT address, seen_at FROM brokers WHERE seen_at > $1 ORDER BY seen_at DESC LIMIT 1",
                     since));
    if (rows.rows.empty()) return {};
    Columns columns(rows.rows.front());
    const std::string address = columns.text();
    const Micros left = std::min(columns.micros(), now) + alive_for - now;
    return fail(Code::kConflict, "the broker " + clean_text(address) + " runs on this database",
                "stop it first; where it is dead already, wait " + std::to_string(left.seconds() + 1) + " s");
}

Status place_vms(Transaction& t, RowId run, SudoWord sudo, std::vector<VmId> vms) {
    static const std::string sql =
        "UPDATE vms SET broker_id = $1, asks_about_sudo = $2 WHERE id IN " + places_from(3);
    return for_vms(t, sql, {to_value(run), to_value(sudo == SudoWord::kAsks)}, std::move(vms));
}

Status unplace_vms(Transaction& t, RowId run, std::vector<VmId> vms) {
    static const std::string sql =
        "UPDATE vms SET broker_id = 0 WHERE broker_id = $1 AND id IN " + places_from(2);
    return for_vms(t, sql, {to_value(run)}, std::move(vms));
}

Result<std::vector<PlacedVm>> placed_vms(Transaction& t, Micros alive_since) {
    LK_TRY(rows, query(t,
                       "SELECT v.id, v.broker_id, COALESCE(b.seen_at, 0), v.asks_about_sudo, "
                       "v.confirmed_epoch, v.trouble FROM vms v LEFT JOIN brokers b ON b.id = v.broker_id "
                       "WHERE v.broker_id <> 0"));
    std::vector<PlacedVm> placed;
    placed.reserve(rows.rows.size());
    for (const Row& row : rows.rows) {
        Columns columns(row);
        PlacedVm vm;
        vm.vm = columns.id<VmId>();
        vm.broker = columns.id<RowId>();
        vm.is_alive = columns.micros() >= alive_since;
        vm.sudo = columns.number() == 0 ? SudoWord::kNone : SudoWord::kAsks;
        vm.confirmed = columns.id<Epoch>();
        vm.has_trouble = !columns.text().empty();
        if (columns.is_good()) placed.push_back(vm);
    }
    return placed;
}

Result<RowId> ask_session_end(Transaction& t, VmId vm, std::uint64_t session, std::string_view reason) {
    LK_CHECK(execute(t, "DELETE FROM session_ends WHERE asked_at < $1", t.now - kKept));
    const RowId id = t.new_id();
    LK_CHECK(execute(t,
                     "INSERT INTO session_ends (id, vm_id, session_id, reason, asked_at, outcome) "
                     "VALUES ($1, $2, $3, $4, $5, 0)",
                     id, vm, session, clean_text(reason), t.now));
    return id;
}

Result<std::vector<SessionEndRow>> session_ends_for(Transaction& t, RowId run, Micros since) {
    LK_TRY(rows, query(t,
                       "SELECT e.id, e.vm_id, e.session_id, e.reason FROM session_ends e "
                       "JOIN vms v ON v.id = e.vm_id "
                       "WHERE v.broker_id = $1 AND e.outcome = 0 AND e.asked_at >= $2",
                       run, since));
    std::vector<SessionEndRow> ends;
    for (const Row& row : rows.rows) {
        Columns columns(row);
        SessionEndRow end;
        end.id = columns.id<RowId>();
        end.vm = columns.id<VmId>();
        end.session = columns.number();
        end.reason = columns.text();
        if (columns.is_good()) ends.push_back(std::move(end));
    }
    return ends;
}

Status answer_session_end(Transaction& t, RowId id, SessionOutcome outcome) {
    return execute(t, "UPDATE session_ends SET outcome = $2 WHERE id = $1 AND outcome = 0", id, outcome);
}

Result<std::optional<SessionOutcome>> outcome_of_session_end(Transaction& t, RowId id) {
    LK_TRY(row, query_one(t, "SELECT outcome FROM session_ends WHERE id = $1", id));
    std::optional<SessionOutcome> none;
    if (!row) return none;
    const std::uint64_t word = Columns(*row).number();
    if (word == 0 || word > static_cast<std::uint64_t>(SessionOutcome::kLast)) return none;
    return std::optional<SessionOutcome>(static_cast<SessionOutcome>(word));
}

Status drop_session_end(Transaction& t, RowId id) {
    return execute(t, "DELETE FROM session_ends WHERE id = $1", id);
}

} // namespace latchkey::ledger
