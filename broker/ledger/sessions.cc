// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "broker/ledger/audit.h"
#include "broker/ledger/clean_text.h"
#include "broker/ledger/detail.h"
#include "broker/ledger/rows.h"
#include "broker/ledger/vms.h"

#define LK_SESSION_SELECT                                                               \
    "SELECT s.id, s.vm_id, v.name, s.user_name, s.login, s.key_fingerprint, s.serial, " \
    "s.from_address, s.opened_at, s.closed_at, s.phase, s.end_reason, v.last_seen "     \
    "FROM sessions s JOIN vms v ON v.id = s.vm_id "

namespace latchkey::ledger {
namespace {

using protocol::SessionPhase;

constexpr std::size_t kReportLimit = 200;
constexpr std::uint32_t kMostListed = 10'000;
constexpr std::uint32_t kMostPrefetched = 64;

std::optional<SessionRow> take_session(const Row& row) {
    Columns columns(row);
    SessionRow session;
    session.id = columns.number();
    session.vm = columns.id<VmId>();
    session.vm_name = columns.name<VmName>();
    session.user = columns.name<UserName>();
    session.login = columns.name<Login>();
    session.key = columns.name<Fingerprint>();
    session.serial = columns.id<Serial>();
    session.from = columns.text();
    session.opened_at = columns.micros();
    session.closed_at = columns.micros();
    session.phase = columns.one_of(SessionPhase::kLast);
    session.end_reason = columns.text();
    session.vm_last_seen = columns.micros();
    if (!columns.is_good()) return std::nullopt;
    return session;
}

struct PhaseWords {
    const char* action;
    const char* outcome;
};

PhaseWords words_of(SessionPhase phase) {
    switch (phase) {
        case SessionPhase::kOpened:
            return {"session.open", "allow"};
        case SessionPhase::kClosed:
            return {"session.close", "done"};
        case SessionPhase::kEnded:
            return {"session.end", "done"};
        case SessionPhase::kRefused:
            break;
    }
    return {"session.refuse", "deny"};
}

Status audit_session(Transaction& t, const Vm& vm, const protocol::SessionEvent& event) {
    const PhaseWords words = words_of(event.phase);
    return append_audit(t, {"vm:" + vm.name.str(), words.action, event.user.str(), words.outcome,
                            Detail()
                                .id("session", event.session)
                                .text("vm", vm.name.str())
                                .text("login", event.login.str())
                                .text("key", event.key.str())
                                .id("serial", event.serial.value)
                                .text("from", clean_text(event.from, kReportLimit))
                                .text("reason", clean_text(event.reason, kReportLimit))
                                .json()});
}

Status insert_session(Transaction& t, const Vm& vm, const protocol::SessionEvent& event, Micros at) {
    const Micros closed_at = event.phase == SessionPhase::kOpened ? Micros{} : at;
    return execute(
        t,
        "INSERT INTO sessions (id, vm_id, user_name, login, key_fingerprint, serial, from_address, "
        "opened_at, closed_at, phase, end_reason) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        event.session, vm.id, event.user, event.login, event.key, event.serial,
        clean_text(event.from, kReportLimit), at, closed_at, event.phase,
        clean_text(event.reason, kReportLimit));
}

Result<std::vector<SessionRow>> live_except(Transaction& t, VmId vm,
                                            const std::vector<std::uint64_t>& still_live) {
    LK_TRY(rows, query(t, LK_SESSION_SELECT "WHERE s.vm_id = $1 AND s.closed_at = 0", vm));
    std::vector<SessionRow> others;
    for (const Row& row : rows.rows) {
        auto session = take_session(row);
        if (session && std::ranges::find(still_live, session->id) == still_live.end())
            others.push_back(std::move(*session));
    }
    return others;
}

} // namespace

// An event may come twice, and an end without its beginning, as the VM sends again what was not answered.
Status record_session_event(Transaction& t, const Vm& vm, const protocol::SessionEvent& event) {
    if (event.session == 0 || event.session > INT64_MAX || event.serial.value > INT64_MAX)
        return fail(Code::kMalformed, "session event with a number out of range");
    const Micros at = std::min(event.time, t.now); // a VM whose clock is ahead
    LK_TRY(row, query_one(t, "SELECT vm_id, closed_at FROM sessions WHERE id = $1", event.session));
    if (!row) {
        LK_CHECK(insert_session(t, vm, event, at));
        return audit_session(t, vm, event);
    }
    Columns columns(*row);
    const VmId owner = columns.id<VmId>();
    const Micros closed_at = columns.micros();
    if (owner != vm.id) return fail(Code::kExists, "session of another VM");
    const bool is_end = event.phase == SessionPhase::kClosed || event.phase == SessionPhase::kEnded;
    if (!is_end || closed_at.value != 0) return {};
    LK_CHECK(execute(t, "UPDATE sessions SET closed_at = $2, phase = $3, end_reason = $4 WHERE id = $1",
                     event.session, at, event.phase, clean_text(event.reason, kReportLimit)));
    return audit_session(t, vm, event);
}

Result<std::vector<SessionRow>> list_sessions(Transaction& t, const SessionFilter& filter) {
    std::string sql = LK_SESSION_SELECT;
    std::vector<Value> parameters;
    std::string joint = "WHERE ";
    const auto add = [&](const char* condition, const std::string& value) {
        parameters.emplace_back(value);
        sql += joint + condition + std::to_string(parameters.size());
        joint = " AND ";
    };
    if (filter.user) add("s.user_name = $", filter.user->str());
    if (filter.vm) add("v.name = $", filter.vm->str());
    if (filter.live_only) sql += joint + "s.closed_at = 0";
    sql += " ORDER BY s.opened_at DESC, s.id LIMIT " + std::to_string(kMostListed);
    LK_TRY(rows, t.sql.run(sql, parameters));
    std::vector<SessionRow> sessions;
    for (const Row& row : rows.rows) {
        if (auto session = take_session(row)) sessions.push_back(std::move(*session));
    }
    return sessions;
}

Result<std::optional<SessionRow>> find_session(Transaction& t, std::uint64_t id) {
    LK_TRY(row, query_one(t, LK_SESSION_SELECT "WHERE s.id = $1", id));
    if (!row) return std::optional<SessionRow>();
    return take_session(*row);
}

Status close_session(Transaction& t, const SessionRow& session, std::string_view reason) {
    LK_TRY(closed, query(t,
                         "UPDATE sessions SET closed_at = $2, phase = $3, end_reason = $4 "
                         "WHERE id = $1 AND closed_at = 0",
                         session.id, t.now, SessionPhase::kClosed, reason));
    if (closed.changed == 0) return {};
    return append_audit(t, {"vm:" + session.vm_name.str(), "session.close", session.user.str(), "done",
                            Detail()
                                .id("session", session.id)
                                .text("vm", session.vm_name.str())
                                .text("login", session.login.str())
                                .text("key", session.key.str())
                                .id("serial", session.serial.value)
                                .text("reason", reason)
                                .json()});
}

Result<bool> has_sessions_except(Transaction& t, VmId vm, const std::vector<std::uint64_t>& still_live) {
    LK_TRY(rows, live_except(t, vm, still_live));
    return !rows.empty();
}

Status close_sessions_except(Transaction& t, VmId vm, const std::vector<std::uint64_t>& still_live) {
    LK_TRY(rows, live_except(t, vm, still_live));
    for (const SessionRow& session : rows) LK_CHECK(close_session(t, session, "gone when the VM came back"));
    return {};
}

Result<std::vector<VmId>> recent_vms_of(Transaction& t, const UserName& user, Micros since) {
    LK_TRY(rows, query(t,
                       "SELECT s.vm_id FROM sessions s JOIN vms v ON v.id = s.vm_id "
                       "WHERE s.user_name = $1 AND s.opened_at >= $2 AND s.phase <> 4 AND v.state = 1 "
                       "GROUP BY s.vm_id ORDER BY MAX(s.opened_at) DESC LIMIT $3",
                       user, since, kMostPrefetched));
    std::vector<VmId> vms;
    for (const Row& row : rows.rows) {
        Columns columns(row);
        const VmId vm = columns.id<VmId>();
        if (columns.is_good()) vms.push_back(vm);
    }
    return vms;
}

} // namespace latchkey::ledger
