// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/tables.h"

#include <algorithm>

#include "core/wire/reader.h"

namespace latchkey::ledger {
namespace {

constexpr std::uint32_t kMostPackedLabels = 256;

void put(wire::Writer& writer, Micros time) {
    writer.u64(static_cast<std::uint64_t>(time.value));
}

template <class E>
void put_enum(wire::Writer& writer, E value) {
    writer.u8(static_cast<std::uint8_t>(value));
}

} // namespace

void Table<User>::read(Columns& columns, std::uint64_t id, User& user) {
    user.id = {id};
    user.name = columns.name<UserName>();
    user.email = columns.text();
    user.role = columns.one_of(Role::kAdmin);
    user.state = columns.one_of(UserState::kRemoved);
    user.lock_reason = columns.text();
    user.created_at = columns.micros();
}

void Table<User>::encode(wire::Writer& writer, const User& user) {
    writer.string(user.name.str());
    writer.string(user.email);
    put_enum(writer, user.role);
    put_enum(writer, user.state);
    writer.string(user.lock_reason);
    put(writer, user.created_at);
}

void Table<KeyRow>::read(Columns& columns, std::uint64_t id, KeyRow& row) {
    row.key.id = {id};
    row.key.user = columns.id<RowId>();
    row.key.fingerprint = columns.name<Fingerprint>();
    row.key.blob = columns.bytes();
    row.key.name = columns.text();
    row.state = columns.one_of(KeyState::kRemoved);
    row.key.added_at = columns.micros();
}

void Table<KeyRow>::encode(wire::Writer& writer, const KeyRow& row) {
    writer.u64(row.key.user.value);
    writer.string(row.key.fingerprint.str());
    writer.string(row.key.blob);
    writer.string(row.key.name);
    put_enum(writer, row.state);
    put(writer, row.key.added_at);
}

void Table<UnlockRow>::read(Columns& columns, std::uint64_t id, UnlockRow& row) {
    row.unlock.id = {id};
    row.unlock.user = columns.id<RowId>();
    row.unlock.key = columns.id<RowId>();
    row.unlock.opened_at = columns.micros();
    row.unlock.ends_at = columns.micros();
    row.unlock.factor_at = columns.micros();
    row.ended_at = columns.micros();
}

void Table<UnlockRow>::encode(wire::Writer& writer, const UnlockRow& row) {
    writer.u64(row.unlock.user.value);
    writer.u64(row.unlock.key.value);
    put(writer, row.unlock.opened_at);
    put(writer, row.unlock.ends_at);
    put(writer, row.unlock.factor_at);
    put(writer, row.ended_at);
}

void Table<Group>::read(Columns& columns, std::uint64_t id, Group& group) {
    group.id = {id};
    group.name = columns.name<GroupName>();
    group.created_at = columns.micros();
}

void Table<Group>::encode(wire::Writer& writer, const Group& group) {
    writer.string(group.name.str());
    put(writer, group.created_at);
}

void Table<Member>::read(Columns& columns, std::uint64_t id, Member& member) {
    member.group = {id};
    member.user = columns.id<RowId>();
    member.added_at = columns.micros();
}

void Table<Member>::encode(wire::Writer& writer, const Member& member) {
    writer.u64(member.user.value);
    put(writer, member.added_at);
}

void Table<Vm>::read(Columns& columns, std::uint64_t id, Vm& vm) {
    vm.id = {id};
    vm.name = columns.name<VmName>();
    vm.key = columns.bytes();
    auto labels = decode_labels(columns.bytes());
    if (!labels) columns.spoil();
    if (labels) vm.labels = std::move(*labels);
    vm.state = columns.one_of(VmState::kRemoved);
    vm.offline_grace_seconds = columns.number32();
    vm.joined_at = columns.micros();
}

void Table<Vm>::encode(wire::Writer& writer, const Vm& vm) {
    writer.string(vm.name.str());
    writer.string(vm.key);
    writer.string(encode_labels(vm.labels));
    put_enum(writer, vm.state);
    writer.u32(vm.offline_grace_seconds);
    put(writer, vm.joined_at);
}

void Table<CertificateRow>::read(Columns& columns, std::uint64_t id, CertificateRow& row) {
    row.sequence = {id};
    row.serial = columns.id<Serial>();
    row.user = columns.id<RowId>();
    row.key = columns.id<RowId>();
    row.unlock = columns.id<RowId>();
    row.key_fingerprint = columns.name<Fingerprint>();
    row.ca_fingerprint = columns.name<Fingerprint>();
    row.blob = columns.bytes();
    row.digest = columns.bytes();
    row.statement = columns.bytes();
    row.epoch = columns.id<Epoch>();
    row.issued_at = columns.micros();
    row.ends_at = columns.micros();
}

void Table<CertificateRow>::encode(wire::Writer& writer, const CertificateRow& row) {
    writer.reserve(row.blob.size() + row.statement.size() + 256);
    writer.u64(row.serial.value);
    writer.u64(row.user.value);
    writer.u64(row.key.value);
    writer.u64(row.unlock.value);
    writer.string(row.key_fingerprint.str());
    writer.string(row.ca_fingerprint.str());
    writer.string(row.blob);
    writer.string(row.digest);
    writer.string(row.statement);
    writer.u64(row.epoch.value);
    writer.u64(static_cast<std::uint64_t>(row.issued_at.value));
    writer.u64(static_cast<std::uint64_t>(row.ends_at.value));
}

bool is_live(const UnlockRow& row, Micros now) {
    return row.ended_at.value == 0 && row.unlock.ends_at > now;
}

Epoch take_epoch(Columns& columns) {
    const std::int64_t counted = columns.integer();
    const std::int64_t last = columns.integer();
    return Epoch{static_cast<std::uint64_t>(std::max({std::int64_t{0}, counted, last}))};
}

Bytes encode_labels(const std::vector<protocol::KeyValue>& labels) {
    wire::Writer writer;
    writer.u32(static_cast<std::uint32_t>(labels.size()));
    for (const protocol::KeyValue& label : labels) {
        writer.string(label.name);
        writer.string(label.value);
    }
    return writer.take();
}

std::optional<std::vector<protocol::KeyValue>> decode_labels(ByteView encoded) {
    wire::Reader reader(encoded);
    const auto count = reader.u32();
    if (!count || *count > kMostPackedLabels) return std::nullopt;
    std::vector<protocol::KeyValue> labels;
    for (std::uint32_t i = 0; i < *count; ++i) {
        const auto name = reader.text();
        const auto value = reader.text();
        if (!name || !value) return std::nullopt;
        labels.push_back({std::string(*name), std::string(*value)});
    }
    if (!reader.at_end()) return std::nullopt;
    return labels;
}

} // namespace latchkey::ledger
