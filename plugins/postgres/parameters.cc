// SPDX-License-Identifier: Apache-2.0
#include "plugins/postgres/parameters.h"

#include <climits>
#include <cstring>

namespace latchkey::postgres {
namespace {

// pg_type.dat: these numbers are part of the protocol.
constexpr Oid kUnknown = 0;
constexpr Oid kBool = 16, kBytea = 17, kInt8 = 20, kInt2 = 21, kInt4 = 23, kText = 25, kVarchar = 1043;

// A number of 1 to 8 bytes, big-endian, with its sign.
std::int64_t number_of(const char* data, int size) {
    std::uint64_t value = size > 0 && (static_cast<unsigned char>(data[0]) & 0x80) != 0 ? UINT64_MAX : 0;
    for (int i = 0; i < size; ++i) value = value << 8 | static_cast<unsigned char>(data[i]);
    return static_cast<std::int64_t>(value);
}

std::array<char, 8> bytes_of(std::int64_t value) {
    std::array<char, 8> bytes{};
    for (std::size_t i = 0; i < bytes.size(); ++i)
        bytes[i] = static_cast<char>(static_cast<std::uint64_t>(value) >> (56 - 8 * i));
    return bytes;
}

} // namespace

Status Parameters::set(std::span<const lk_value> values) {
    types_.clear();
    values_.clear();
    lengths_.clear();
    signature_.clear();
    numbers_.resize(values.size()); // first: what points into it must stay
    formats_.assign(values.size(), 1);
    for (std::size_t i = 0; i < values.size(); ++i) {
        const lk_value& value = values[i];
        const bool is_bytes = value.type == LK_TEXT || value.type == LK_BLOB;
        if (is_bytes && value.bytes.size > INT_MAX)
            return fail(Code::kTooLarge, "an SQL parameter over 2 GiB");
        const char* data = value.bytes.data == nullptr ? "" : reinterpret_cast<const char*>(value.bytes.data);
        int size = is_bytes ? static_cast<int>(value.bytes.size) : 0;
        Oid type = kUnknown;
        switch (value.type) {
            case LK_NULL:
                data = nullptr;
                break;
            case LK_INTEGER:
                type = kInt8;
                numbers_[i] = bytes_of(value.integer);
                data = numbers_[i].data();
                size = static_cast<int>(numbers_[i].size());
                break;
            case LK_TEXT:
                type = kText;
                break;
            case LK_BLOB:
                type = kBytea;
                break;
            default:
                return fail(Code::kUsage, "an SQL parameter of an unknown type");
        }
        types_.push_back(type);
        values_.push_back(data);
        lengths_.push_back(size);
        signature_ += "?ntb"[type == kUnknown ? 0 : type == kInt8 ? 1 : type == kText ? 2 : 3];
    }
    return {};
}

Status read_row(const PGresult* answer, int row, std::vector<lk_value>& values) {
    const int columns = PQnfields(answer);
    values.assign(static_cast<std::size_t>(columns), lk_value{LK_NULL, 0, {nullptr, 0}});
    for (int i = 0; i < columns; ++i) {
        if (PQgetisnull(answer, row, i) != 0) continue;
        lk_value& value = values[static_cast<std::size_t>(i)];
        const char* data = PQgetvalue(answer, row, i);
        const int size = PQgetlength(answer, row, i);
        switch (PQftype(answer, i)) {
            case kBool:
            case kInt2:
            case kInt4:
            case kInt8:
                value.type = LK_INTEGER;
                value.integer = number_of(data, size);
                break;
            case kText:
            case kVarchar:
                value.type = LK_TEXT;
                break;
            case kBytea:
                value.type = LK_BLOB;
                break;
            default:
                return fail(Code::kUnsupported,
                            "a result column of PostgreSQL's type " + std::to_string(PQftype(answer, i)));
        }
        if (value.type != LK_INTEGER)
            value.bytes = {reinterpret_cast<const std::uint8_t*>(data), static_cast<std::size_t>(size)};
    }
    return {};
}

std::int64_t changed_rows(PGresult* answer) {
    const std::string_view command = PQcmdStatus(answer);
    if (command.starts_with("SELECT")) return 0; // those that it found
    const char* count = PQcmdTuples(answer);
    return *count == '\0' ? 0 : std::strtoll(count, nullptr, 10);
}

} // namespace latchkey::postgres
