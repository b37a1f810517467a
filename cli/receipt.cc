// SPDX-License-Identifier: Apache-2.0
#include "cli/receipt.h"

#include <algorithm>
#include <functional>
#include <iostream>
#include <iterator>
#include <set>

#include "cli/profile.h"
#include "core/posix/file.h"
#include "core/receipt/receipt.h"

namespace latchkey::cli {
namespace {

constexpr std::size_t kFileLimit = 256UL * 1024 * 1024; // of a fleet of a million VMs
constexpr std::size_t kKeyFileLimit = 64 * 1024;

using receipt::SignedReceipt;
using Verify = std::function<Status(const SignedReceipt&)>;

Result<std::string> read_text(const std::string& file, std::size_t limit) {
    if (file == "-") return std::string(std::istreambuf_iterator<char>(std::cin), {});
    LK_TRY(content, posix::read_file(file, limit));
    return std::string(as_text(content));
}

std::string summary_of(const std::vector<SignedReceipt>& receipts) {
    if (receipts.size() == 1) return "genuine: " + receipt::describe(receipts.front());
    std::set<VmName> vms;
    std::set<Epoch> epochs;
    std::size_t troubled = 0;
    for (const SignedReceipt& one : receipts) {
        vms.insert(one.vm);
        epochs.insert(one.receipt.epoch);
        if (!one.receipt.trouble.empty()) ++troubled;
    }
    std::string text = "genuine: " + std::to_string(receipts.size()) + " receipts of " +
                       std::to_string(vms.size()) + (vms.size() == 1 ? " VM" : " VMs") + ", epoch " +
                       std::to_string(epochs.begin()->value);
    if (epochs.size() > 1) text += " to " + std::to_string(epochs.rbegin()->value);
    if (troubled > 0) text += "; " + std::to_string(troubled) + " of them name trouble";
    return text;
}

Result<Verify> by_key_file(const std::string& file) {
    LK_TRY(text, read_text(file, kKeyFileLimit));
    auto key = keys::PublicKey::from_line(text.substr(0, text.find('\n')));
    if (!key) {
        return fail(key.error().code, file + " holds no public key: " + key.error().message,
                    "it is the line after 'key' in: vm show V");
    }
    return Verify([key = *std::move(key)](const SignedReceipt& one) { return receipt::verify(one, key); });
}

Result<Verify> by_known_file(const std::string& file) {
    LK_TRY(text, read_text(file, kFileLimit));
    LK_TRY(known, receipt::parse_known_vms(text));
    return Verify([known = std::move(known), file](const SignedReceipt& one) -> Status {
        Status status =
            fail(Code::kNotFound, file + " has no key of " + one.vm.str(), "make it anew with: vm keys");
        for (const receipt::KnownVm& entry : known) { // a VM that joined anew has several
            if (entry.vm != one.vm) continue;
            status = receipt::verify(one, entry.key);
            if (status || status.error().code == Code::kBadSignature) break;
        }
        return status;
    });
}

Result<Verify> verifier(const ReceiptSource& source) {
    if (!source.key.empty()) return by_key_file(source.key);
    if (!source.known.empty()) return by_known_file(source.known);
    if (std::filesystem::exists(known_vms_file())) return by_known_file(known_vms_file());
    return fail(Code::kUsage, "a receipt is verified by a key that you have from elsewhere",
                "give --key FILE (from: vm show V), or --known FILE (from: vm keys)");
}

} // namespace

std::filesystem::path known_vms_file() {
    return profile_file().parent_path() / "known_vms";
}

Result<std::string> verify_receipts(const ReceiptSource& source) {
    LK_TRY(verify, verifier(source));
    LK_TRY(text, read_text(source.file, kFileLimit));
    LK_TRY(receipts, receipt::from_json(text));
    if (!source.vm.empty()) {
        std::erase_if(receipts, [&](const SignedReceipt& one) { return one.vm.str() != source.vm; });
        if (receipts.empty()) return fail(Code::kNotFound, "there is no receipt of " + source.vm + " in it");
    }
    for (const SignedReceipt& one : receipts) LK_CHECK(verify(one));
    return summary_of(receipts);
}

} // namespace latchkey::cli
