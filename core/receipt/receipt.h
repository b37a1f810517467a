// SPDX-License-Identifier: Apache-2.0
#pragma once
// A receipt with what belongs to it outside the hub protocol: the VM's name and the fingerprint of the key
// that signed it, as the writer of the JSON says them. Neither is signed: what counts is that a key which the
// reader trusts from elsewhere fits signature and fields. Values and functions; any thread.

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/names.h"
#include "core/keys/public_key.h"
#include "core/protocol/hub.h"

namespace latchkey::receipt {

struct SignedReceipt {
    VmName vm;
    Fingerprint key; // whose key signed it; empty: not said
    protocol::Receipt receipt;
};

// One line for people; a VM's own words made printable.
std::string describe(const SignedReceipt& signed_receipt);

// A JSON array of receipts, on one line. Ids are strings, since 63 bits do not fit a JSON number; what is not
// UTF-8 in a VM's words is replaced (and such a receipt does not verify from its JSON).
std::string to_json(std::span<const SignedReceipt> receipts);

// A document with a list "receipts", such a list, or one receipt. kMalformed: cut off, no JSON, no receipt in
// it, or a field that is missing or of another type, by name.
Result<std::vector<SignedReceipt>> from_json(std::string_view text);

// kUnauthenticated: another key signed it, as it says itself. kBadSignature: it was altered since.
Status verify(const SignedReceipt& signed_receipt, const keys::PublicKey& key);

// Keys by VM, one a line: "web-1 ssh-ed25519 AAAA…", as `vm keys` prints them; '#' begins a comment.
struct KnownVm {
    VmName vm;
    keys::PublicKey key;
};
Result<std::vector<KnownVm>> parse_known_vms(std::string_view text);

// A VM answers again when it comes back. The first receipt stands; a later one for the same epoch is kept
// beside it only where it says something new: sessions that it found, trouble, or that a trouble is over.
bool adds_to(const protocol::Receipt& before, const protocol::Receipt& later);

} // namespace latchkey::receipt
