// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/vm_reports.h"

#include <algorithm>

#include "broker/ledger/audit.h"
#include "broker/ledger/certificates.h"
#include "broker/ledger/clean_text.h"
#include "broker/ledger/detail.h"
#include "broker/ledger/revocations.h"
#include "broker/ledger/rows.h"

namespace latchkey::ledger {
namespace {

constexpr std::size_t kReportKindLimit = 32;
constexpr std::size_t kReportTextLimit = 400;
constexpr std::string_view kBreakGlass = "break-glass";

} // namespace

Status record_report(Transaction& t, const Vm& vm, const protocol::Report& report) {
    if (report.id > INT64_MAX) return fail(Code::kMalformed, "report with a number out of range");
    const std::uint64_t id = report.id == 0 ? t.new_id().value : report.id;
    const std::string kind = clean_text(report.kind, kReportKindLimit);
    const std::string text = clean_text(report.text, kReportTextLimit);
    const Micros made_at = std::clamp(report.time, Micros{}, t.now);
    LK_TRY(done, query(t,
                       "INSERT INTO vm_reports (vm_id, id, kind, made_at, text, received_at) "
                       "VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (vm_id, id) DO NOTHING",
                       vm.id, id, kind, made_at, text, t.now));
    if (done.changed == 0) return {};
    const std::string self = "vm:" + vm.name.str();
    const std::string action = kind == kBreakGlass ? kind : "vm.report";
    return append_audit(
        t, {self, action, self, "done",
            Detail().id("id", id).text("kind", kind).text("text", text).time("made_at", made_at).json()});
}

Result<std::vector<VmReport>> reports_of(Transaction& t, VmId vm, std::uint32_t limit) {
    LK_TRY(rows, query(t,
                       "SELECT kind, made_at, text, received_at FROM vm_reports WHERE vm_id = $1 "
                       "ORDER BY received_at DESC, id LIMIT $2",
                       vm, limit));
    std::vector<VmReport> reports;
    for (const Row& row : rows.rows) {
        Columns columns(row);
        VmReport report;
        report.kind = columns.text();
        report.made_at = columns.micros();
        report.text = columns.text();
        report.received_at = columns.micros();
        if (columns.is_good()) reports.push_back(std::move(report));
    }
    return reports;
}

Result<std::optional<RevocationRow>> revocation_of_session(Transaction& t, const Vm& vm,
                                                           const protocol::SessionEvent& session) {
    LK_TRY(certificate, find_certificate(t, session.serial));
    revocation::Credential credential{.user = session.user,
                                      .key = session.key,
                                      .serial = session.serial,
                                      .ca = {},
                                      .vm = vm.name,
                                      .issued_at = {}};
    if (certificate) {
        credential.ca = certificate->ca_fingerprint;
        credential.issued_at = certificate->issued_at;
    }
    LK_TRY(rows,
           query(t,
                 "SELECT epoch FROM revocations WHERE (kind = 'user' AND text = $1) OR "
                 "(kind = 'key' AND text = $2) OR (kind = 'cert' AND text = $3) OR "
                 "(kind = 'vm' AND text = $4) OR (kind = 'ca' AND text = $5) OR kind = 'before' "
                 "ORDER BY epoch",
                 session.user, session.key, std::to_string(session.serial.value), vm.name, credential.ca));
    for (const Row& row : rows.rows) {
        LK_TRY(revocation, find_revocation(t, Columns(row).id<Epoch>()));
        if (!revocation) continue;
        revocation::RevocationSet alone;
        LK_CHECK(alone.replace(revocation->revocation.epoch, {revocation->revocation}));
        if (alone.covers(credential)) return revocation;
    }
    return std::optional<RevocationRow>();
}

} // namespace latchkey::ledger
