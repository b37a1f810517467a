// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/audit.h"
#include "broker/ledger/rows.h"

namespace latchkey::ledger {
namespace {

constexpr std::string_view kTable = "settings";

Bytes encode(std::string_view name, std::string_view value) {
    wire::Writer writer;
    writer.string(name);
    writer.string(value);
    return writer.take();
}

} // namespace

Result<std::optional<std::string>> get_setting(Transaction& t, const std::string& name) {
    LK_TRY(row, query_one(t, "SELECT version, value, mac FROM settings WHERE name = $1", name));
    if (!row) return std::optional<std::string>();
    Columns columns(*row);
    const std::uint64_t version = columns.number();
    std::string value = columns.text();
    const Bytes mac = columns.bytes();
    if (columns.is_good() && t.sealer.fits({kTable, 0, version}, encode(name, value), mac)) {
        return std::optional<std::string>(std::move(value));
    }
    t.tampered.note(kTable, 0);
    return fail(Code::kTampered, "the setting " + name + " of the database fails its check",
                "restore the last backup");
}

Status put_setting(Transaction& t, const std::string& name, const std::string& value) {
    LK_TRY(row, query_one(t, "SELECT version FROM settings WHERE name = $1", name));
    const std::uint64_t version = row ? Columns(*row).number() + 1 : 1;
    LK_CHECK(execute(t,
                     "INSERT INTO settings (name, version, value, mac) VALUES ($1, $2, $3, $4) "
                     "ON CONFLICT (name) DO UPDATE SET version = $2, value = $3, mac = $4",
                     name, version, value, t.sealer.mac({kTable, 0, version}, encode(name, value))));
    return append_audit(t, {"latchkeyd", "setting.put", "setting:" + name, "done", "{}"});
}

} // namespace latchkey::ledger
