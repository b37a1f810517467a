// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/factors.h"

#include "broker/ledger/audit.h"
#include "broker/ledger/detail.h"
#include "broker/ledger/tables.h"
#include "broker/ledger/users.h"

namespace latchkey::ledger {
namespace {

constexpr std::string_view kFactorTable = "factors";
constexpr std::size_t kKindLimit = 32;

#define LK_FACTOR_COLUMNS "f.id, f.version, f.user_id, f.kind, f.added_at, f.sealed"

// What the seal binds beside id and version: a state moved to another person, kind or row does not open.
Bytes bound_content(const FactorRow& factor) {
    wire::Writer writer;
    writer.u64(factor.user.value);
    writer.string(factor.kind);
    writer.u64(static_cast<std::uint64_t>(factor.added_at.value));
    return writer.take();
}

Result<Bytes> seal_state(const Transaction& t, const FactorRow& factor, const SecretBytes& state) {
    return t.sealer.seal({kFactorTable, factor.id.value, factor.version}, bound_content(factor),
                         state.view());
}

std::optional<FactorRow> take_factor(Transaction& t, const Row& row) {
    Columns columns(row);
    FactorRow factor;
    factor.id = columns.id<RowId>();
    factor.version = columns.number();
    factor.user = columns.id<RowId>();
    factor.kind = columns.text();
    factor.added_at = columns.micros();
    const Bytes sealed = columns.bytes();
    if (columns.is_good()) {
        auto state =
            t.sealer.open({kFactorTable, factor.id.value, factor.version}, bound_content(factor), sealed);
        if (state) {
            factor.state = std::move(*state);
            return factor;
        }
    }
    t.tampered.note(kFactorTable, factor.id.value);
    return std::nullopt;
}

Result<User> need_owner(Transaction& t, RowId user) {
    LK_TRY(owner, find_user(t, user));
    if (!owner || owner->state == UserState::kRemoved) return fail(Code::kNotFound, "no such user");
    return std::move(*owner);
}

} // namespace

Result<FactorRow> add_factor(Transaction& t, RowId user, const std::string& kind, const SecretBytes& state,
                             const std::string& actor) {
    if (kind.empty() || kind.size() > kKindLimit) return fail(Code::kUsage, "not a kind of factor");
    LK_TRY(owner, need_owner(t, user));
    FactorRow factor{
        .id = t.new_id(), .user = user, .kind = kind, .state = {}, .version = 1, .added_at = t.now};
    LK_TRY(sealed, seal_state(t, factor, state));
    factor.state = state.clone();
    LK_CHECK(execute(
        t,
        "INSERT INTO factors (id, version, user_id, kind, added_at, sealed) VALUES ($1, 1, $2, $3, $4, $5)",
        factor.id, factor.user, factor.kind, factor.added_at, sealed));
    t.scratch.has_policy_changed = true;
    LK_CHECK(append_audit(t, {actor, "factor.add", owner.name.str(), "done",
                              Detail().text("factor", kind).id("id", factor.id.value).json()}));
    return factor;
}

Result<std::vector<FactorRow>> factors_of(Transaction& t, RowId user) {
    LK_TRY(rows, query(t,
                       "SELECT " LK_FACTOR_COLUMNS " FROM factors f WHERE f.user_id = $1 "
                       "ORDER BY f.added_at, f.id",
                       user));
    std::vector<FactorRow> factors;
    for (const Row& row : rows.rows) {
        if (auto factor = take_factor(t, row)) factors.push_back(std::move(*factor));
    }
    return factors;
}

Status replace_factor_state(Transaction& t, RowId factor, std::uint64_t version, const SecretBytes& next) {
    LK_TRY(row, query_one(t, "SELECT " LK_FACTOR_COLUMNS " FROM factors f WHERE f.id = $1", factor));
    if (!row) return fail(Code::kNotFound, "no such factor");
    auto stored = take_factor(t, *row);
    if (!stored) return fail(Code::kTampered, "the factor's row fails its check", "run: factor reset USER");
    if (!t.scratch.is_writing) return fail(Code::kInternal, "a change inside a reading job");
    stored->version = version + 1;
    LK_TRY(sealed, seal_state(t, *stored, next));
    LK_TRY(done, query(t, "UPDATE factors SET version = $3, sealed = $4 WHERE id = $1 AND version = $2",
                       factor, version, stored->version, sealed));
    if (done.changed == 1) return {};
    return fail(Code::kConflict, "the code was used elsewhere meanwhile", "wait for the next code");
}

Status remove_factor(Transaction& t, RowId user, RowId factor, const std::string& actor) {
    LK_TRY(owner, need_owner(t, user));
    LK_TRY(row,
           query_one(t, "DELETE FROM factors WHERE id = $1 AND user_id = $2 RETURNING kind", factor, user));
    if (!row) return fail(Code::kNotFound, "no such factor", "see: factor ls");
    t.scratch.has_policy_changed = true;
    return append_audit(t, {actor, "factor.remove", owner.name.str(), "done",
                            Detail().text("factor", Columns(*row).text()).id("id", factor.value).json()});
}

Status remove_factors(Transaction& t, RowId user, const std::string& actor) {
    LK_TRY(owner, need_owner(t, user));
    LK_TRY(done, query(t, "DELETE FROM factors WHERE user_id = $1", user));
    t.scratch.has_policy_changed = true;
    return append_audit(t, {actor, "factor.reset", owner.name.str(), "done",
                            Detail().number("removed", done.changed).json()});
}

Status look_at_factors(Transaction& t) {
    LK_TRY(rows, query(t, "SELECT " LK_FACTOR_COLUMNS " FROM factors f"));
    for (const Row& row : rows.rows) take_factor(t, row);
    return {};
}

} // namespace latchkey::ledger
