// SPDX-License-Identifier: Apache-2.0
#include "core/receipt/receipt.h"

#include <algorithm>
#include <charconv>
#include <ctime>
#include <limits>
#include <nlohmann/json.hpp>

namespace latchkey::receipt {
namespace {

using Json = nlohmann::ordered_json;

Json json_of(const SignedReceipt& signed_receipt) {
    const protocol::Receipt& receipt = signed_receipt.receipt;
    return {{"vm", signed_receipt.vm.str()},
            {"key", signed_receipt.key.str()},
            {"epoch", receipt.epoch.value},
            {"vm_id", std::to_string(receipt.vm_id.value)},
            {"sessions_found", receipt.sessions_found},
            {"sessions_ended", receipt.sessions_ended},
            {"grants_purged", receipt.grants_purged},
            {"time_micros", receipt.time.value},
            {"trouble", receipt.trouble},
            {"signature", to_base64(receipt.signature)}};
}

// The fields of one receipt in order; the first that is wrong is remembered.
class Fields {
public:
    Fields(const Json& object, std::size_t number) : object_(object), number_(number) {}

    std::uint64_t number(const char* name, std::uint64_t most) {
        const Json* value = find(name);
        if (value == nullptr) return 0;
        std::uint64_t found = 0;
        if (value->is_number_unsigned()) {
            found = value->get<std::uint64_t>();
        } else if (value->is_string()) {
            const auto& digits = value->get_ref<const std::string&>();
            const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), found);
            if (error != std::errc() || end != digits.data() + digits.size()) note(name, "is no number");
        } else {
            note(name, "is no number");
        }
        if (found > most) note(name, "is out of range");
        return found;
    }
    std::uint32_t number32(const char* name) {
        return static_cast<std::uint32_t>(number(name, std::numeric_limits<std::uint32_t>::max()));
    }
    std::string text(const char* name) {
        const Json* value = find(name);
        if (value == nullptr) return {};
        if (value->is_string()) return value->get<std::string>();
        note(name, "is no text");
        return {};
    }
    template <class N>
    N name(const char* field, bool may_be_missing) {
        if (may_be_missing && (!object_.contains(field) || text(field).empty())) return {};
        auto parsed = N::parse(text(field));
        if (!parsed) note(field, "is malformed");
        return parsed ? *std::move(parsed) : N();
    }
    Bytes bytes(const char* name) {
        auto decoded = from_base64(text(name));
        if (!decoded) note(name, "is not base64");
        return decoded ? *std::move(decoded) : Bytes();
    }
    Status finish() && { return std::move(status_); }

private:
    const Json* find(const char* name) {
        const auto found = object_.find(name);
        if (found != object_.end()) return &*found;
        note(name, "is missing");
        return nullptr;
    }
    void note(const char* name, const char* what) {
        if (!status_) return;
        status_ = fail(Code::kMalformed,
                       "receipt " + std::to_string(number_) + ": its field '" + name + "' " + what);
    }

    const Json& object_;
    std::size_t number_;
    Status status_;
};

Result<SignedReceipt> read_one(const Json& object, std::size_t number) {
    if (!object.is_object()) {
        return fail(Code::kMalformed, "receipt " + std::to_string(number) + " is no JSON object");
    }
    constexpr std::uint64_t kMost = std::numeric_limits<std::int64_t>::max();
    Fields fields(object, number);
    SignedReceipt read;
    read.vm = fields.name<VmName>("vm", false);
    read.key = fields.name<Fingerprint>("key", true);
    read.receipt.epoch = {fields.number("epoch", kMost)};
    read.receipt.vm_id = {fields.number("vm_id", kMost)};
    read.receipt.sessions_found = fields.number32("sessions_found");
    read.receipt.sessions_ended = fields.number32("sessions_ended");
    read.receipt.grants_purged = fields.number32("grants_purged");
    read.receipt.time = {static_cast<std::int64_t>(fields.number("time_micros", kMost))};
    read.receipt.trouble = fields.text("trouble");
    read.receipt.signature = fields.bytes("signature");
    LK_CHECK(std::move(fields).finish());
    return read;
}

std::string utc(Micros at) {
    const auto seconds = static_cast<std::time_t>(at.seconds());
    std::tm parts{};
    ::gmtime_r(&seconds, &parts);
    char text[32] = {};
    std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &parts);
    return text;
}

// A VM's words go to a terminal.
std::string printable(std::string text) {
    std::ranges::replace_if(
        text, [](char c) { return static_cast<unsigned char>(c) < ' ' || c == '\x7f'; }, '?');
    return text;
}

} // namespace

std::string describe(const SignedReceipt& one) {
    const protocol::Receipt& receipt = one.receipt;
    std::string text = one.vm.str() + " (id " + std::to_string(receipt.vm_id.value) + ") applied epoch " +
                       std::to_string(receipt.epoch.value) + " at " + utc(receipt.time) + ", ended " +
                       std::to_string(receipt.sessions_ended) + " of " +
                       std::to_string(receipt.sessions_found) + " sessions";
    if (!receipt.trouble.empty()) text += ", trouble: " + printable(receipt.trouble);
    return text;
}

std::string to_json(std::span<const SignedReceipt> receipts) {
    Json list = Json::array();
    for (const SignedReceipt& one : receipts) list.push_back(json_of(one));
    return list.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<std::vector<SignedReceipt>> from_json(std::string_view text) {
    const Json document = Json::parse(text, nullptr, false);
    if (document.is_discarded()) {
        return fail(Code::kMalformed, "this is no whole JSON document: it was cut off, or is something else",
                    "write it anew: revoke show EPOCH --json, or latchkey-agent receipts --json");
    }
    const bool has_list = document.is_object() && document.contains("receipts");
    Json list = has_list ? document["receipts"] : document;
    if (list.is_object()) list = Json::array({list});
    if (!list.is_array() || list.empty()) return fail(Code::kMalformed, "there is no receipt in it");
    std::vector<SignedReceipt> receipts;
    for (const Json& object : list) {
        LK_TRY(one, read_one(object, receipts.size() + 1));
        receipts.push_back(std::move(one));
    }
    return receipts;
}

Status verify(const SignedReceipt& signed_receipt, const keys::PublicKey& key) {
    const protocol::Receipt& receipt = signed_receipt.receipt;
    const std::string which =
        "receipt of " + signed_receipt.vm.str() + " for epoch " + std::to_string(receipt.epoch.value);
    if (!signed_receipt.key.empty() && signed_receipt.key != key.fingerprint()) {
        return fail(Code::kUnauthenticated,
                    which + ": another key signed it (" + signed_receipt.key.str() +
                        "), not the one given (" + key.fingerprint().str() + ")",
                    "compare with: vm show " + signed_receipt.vm.str());
    }
    if (key.verify(receipt.signature, protocol::receipt_signed_bytes(receipt))) return {};
    return fail(Code::kBadSignature,
                which + ": the signature does not fit what it says: it was altered, or is another VM's",
                "do not rely on it");
}

Result<std::vector<KnownVm>> parse_known_vms(std::string_view text) {
    std::vector<KnownVm> known;
    std::size_t number = 0;
    while (!text.empty()) {
        const std::string_view line = text.substr(0, text.find('\n'));
        text.remove_prefix(std::min(line.size() + 1, text.size()));
        ++number;
        if (line.empty() || line.front() == '#') continue;
        const std::size_t space = std::min(line.find(' '), line.size() - 1);
        auto vm = VmName::parse(line.substr(0, space));
        auto key = keys::PublicKey::from_line(line.substr(space + 1));
        if (!vm || !key) {
            return fail(Code::kMalformed,
                        "line " + std::to_string(number) + " of the known VMs is not: NAME ssh-ed25519 KEY",
                        "make the file anew with: vm keys");
        }
        known.push_back({*std::move(vm), *std::move(key)});
    }
    return known;
}

bool adds_to(const protocol::Receipt& before, const protocol::Receipt& later) {
    return later.sessions_found > 0 || later.trouble != before.trouble;
}

} // namespace latchkey::receipt
