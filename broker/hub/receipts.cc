// SPDX-License-Identifier: Apache-2.0
// Receipts: verified against the VM's key and written on the pool, many in one transaction; then those who
// wait are told.
#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

#include "broker/hub/offload.h"
#include "broker/hub/state.h"
#include "broker/ledger/revocations.h"
#include "broker/ledger/vms.h"
#include "core/wire/writer.h"

namespace latchkey::hub {
namespace {

constexpr std::size_t kReceiptsAtOnce = 256;
constexpr unsigned kWriters = 2;
constexpr std::size_t kMaxTrouble = 1024;

Result<keys::PublicKey> key_of(const ledger::Vm& vm) {
    wire::Writer writer;
    writer.string(keys::type_name(keys::KeyType::kEd25519));
    writer.string(vm.key);
    return keys::PublicKey::from_blob(writer.bytes());
}

struct Checked {
    std::shared_ptr<const ledger::Vm> vm;
    protocol::Receipt receipt;
    bool is_genuine = false;
};

// Epoch 0 is where a new broker stands: there is nothing to record of it.
bool is_due(const Checked& one) {
    return one.is_genuine && one.receipt.epoch.value != 0;
}

// All in one transaction; where one of them cannot be written (its VM was removed just now), each in its own.
Status write_all(ledger::Ledger& ledger, const std::vector<Checked>& checked) {
    const Status together = ledger.write([&](ledger::Transaction& t) -> Status {
        for (const Checked& one : checked) {
            if (is_due(one)) LK_CHECK(ledger::record_receipt(t, one.vm->id, one.receipt));
        }
        return {};
    });
    if (together || together.error().code == Code::kUnavailable) return together;
    Status last;
    for (const Checked& one : checked) {
        if (!is_due(one)) continue;
        const Status written = ledger.write(
            [&](ledger::Transaction& t) { return ledger::record_receipt(t, one.vm->id, one.receipt); });
        if (!written && written.error().code != Code::kNotFound) last = written;
    }
    return last;
}

} // namespace

Status Hub::State::take_receipt(const LinkPtr& link, const protocol::Frame& frame) {
    LK_TRY(receipt, protocol::decode<protocol::Receipt>(frame));
    if (receipt.vm_id != link->vm->id) return fail(Code::kRefused, "a receipt of another VM");
    if (receipt.epoch > link->sent_epoch) return fail(Code::kRefused, "a receipt for what was not sent");
    if (receipt.trouble.size() > kMaxTrouble * 2)
        return fail(Code::kTooLarge, "a receipt with an endless complaint");
    receipts.push_back({link, std::move(receipt)});
    if (receipt_writers < kWriters) {
        ++receipt_writers;
        asio::co_spawn(io, write_receipts(), asio::detached);
    }
    return {};
}

asio::awaitable<void> Hub::State::write_receipts() {
    while (!receipts.empty()) {
        const std::size_t count = std::min(receipts.size(), kReceiptsAtOnce);
        const auto end = receipts.begin() + static_cast<std::ptrdiff_t>(count);
        std::vector<Pending> batch(std::make_move_iterator(receipts.begin()), std::make_move_iterator(end));
        receipts.erase(receipts.begin(), end);
        const auto checked = std::make_shared<std::vector<Checked>>();
        for (Pending& pending : batch)
            checked->push_back({pending.link->vm, std::move(pending.receipt), false});
        auto write_down = [this, checked]() -> Status {
            for (Checked& one : *checked) {
                const auto key = key_of(*one.vm);
                one.is_genuine =
                    key && key->verify(one.receipt.signature, protocol::receipt_signed_bytes(one.receipt));
            }
            return write_all(parts.ledger, *checked);
        };

        const Status written = co_await offload(pool, std::move(write_down));
        if (!written) {
            log(LogLevel::kError, "fail to record receipts why=\"" + written.error().line() + "\"");
            continue;
        }
        std::vector<std::pair<VmId, Epoch>> confirmed;
        for (std::size_t i = 0; i < batch.size(); ++i) {
            const LinkPtr& link = batch[i].link;
            const Checked& one = (*checked)[i];
            if (!one.is_genuine) {
                log_of(LogLevel::kError, *one.vm, "refuse receipt", " why=\"its signature does not verify\"");
                link->tls->close();
                continue;
            }
            confirmed.emplace_back(one.vm->id, one.receipt.epoch);
            if (link->trouble != one.receipt.trouble) {
                link->trouble = one.receipt.trouble;
                link->is_seen_due = true;
            }
        }
        board.confirm(confirmed, parts.clock.now());
    }
    --receipt_writers;
}

Result<ReceiptCount> Hub::State::count_receipts(Epoch epoch) {
    struct Read {
        std::optional<ledger::RevocationRow> revocation;
        std::vector<ledger::Vm> vms;
        std::vector<ledger::ReceiptRow> receipts;
    };
    LK_TRY(read, parts.ledger.read([&](ledger::Transaction& t) -> Result<Read> {
        LK_TRY(revocation, ledger::find_revocation(t, epoch));
        LK_TRY(vms, ledger::list_vms(t));
        LK_TRY(rows, ledger::receipts_for(t, epoch));
        return Read{std::move(revocation), std::move(vms), std::move(rows)};
    }));
    if (!read.revocation) {
        return fail(Code::kNotFound, "there is no revocation of epoch " + std::to_string(epoch.value),
                    "run: revoke ls");
    }
    const revocation::Revocation& revocation = read.revocation->revocation;
    std::unordered_set<std::uint64_t> receipted;
    for (const ledger::ReceiptRow& row : read.receipts) receipted.insert(row.vm.value);
    const auto entries = board.entries();

    ReceiptCount count;
    for (const ledger::Vm& vm : read.vms) {
        if (vm.joined_at > revocation.made_at) continue; // never held anything that it covers
        ++count.expected;
        const auto found = entries.find(vm.id.value);
        const Board::Entry entry = found == entries.end() ? Board::Entry{} : found->second;
        if (receipted.contains(vm.id.value) || vm.confirmed_epoch >= epoch || entry.confirmed >= epoch) {
            ++count.confirmed;
            continue;
        }
        const Micros last_seen = std::max(vm.last_seen, entry.last_heard);
        // Away from us it serves what it holds for its grace at most, and nothing that the revocation
        // outlasts.
        const Micros alone_until = last_seen + from_seconds(vm.offline_grace_seconds);
        count.missing.push_back({.name = vm.name,
                                 .is_connected = entry.is_connected,
                                 .last_seen = last_seen,
                                 .grants_end = entry.is_connected
                                                   ? revocation.drop_at
                                                   : std::min(revocation.drop_at, alone_until)});
    }
    std::ranges::sort(count.missing, [](const ReceiptCount::Missing& a, const ReceiptCount::Missing& b) {
        return std::pair(!a.is_connected, a.name) < std::pair(!b.is_connected, b.name);
    });
    return count;
}

} // namespace latchkey::hub
