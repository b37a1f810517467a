// SPDX-License-Identifier: Apache-2.0
// Receipts: verified against the VM's key and written on the pool, many in one transaction; then those who
// wait are told.
#include <algorithm>
#include <boost/asio/steady_timer.hpp>
#include <chrono>

#include "broker/hub/await.h"
#include "broker/hub/offload.h"
#include "broker/hub/state.h"
#include "broker/ledger/revocations.h"
#include "broker/ledger/vms.h"

namespace latchkey::hub {
namespace {

constexpr std::size_t kReceiptsAtOnce = 256;
constexpr std::size_t kMaxTrouble = 1024;
constexpr std::size_t kMaxSignature = 128; // an ed25519 one is smaller by far
constexpr std::chrono::seconds kWriteAgain{1};
constexpr unsigned kMostTries = 60;
constexpr std::chrono::milliseconds kGatherFor{50};

struct Checked {
    std::shared_ptr<const ledger::Vm> vm;
    protocol::Receipt receipt;
    bool is_genuine = false;
    Status written = {};
};

// Epoch 0 is where a new broker stands: there is nothing to record of it.
bool is_due(const Checked& one) {
    return one.is_genuine && one.receipt.epoch.value != 0;
}

// All in one transaction; where one of them cannot be written (its VM was removed just now), each in its own.
Status write_all(ledger::Ledger& ledger, std::vector<Checked>& checked) {
    const Status together = ledger.write([&](ledger::Transaction& t) -> Status {
        for (const Checked& one : checked) {
            if (is_due(one)) LK_CHECK(ledger::record_receipt(t, one.vm->id, one.receipt));
        }
        return {};
    });
    if (together) return together;
    const bool is_store_away = together.error().code == Code::kUnavailable;
    Status last;
    for (Checked& one : checked) {
        if (!is_due(one)) continue;
        const auto write_one = [&](ledger::Transaction& t) {
            return ledger::record_receipt(t, one.vm->id, one.receipt);
        };
        one.written = is_store_away ? together : ledger.write(write_one);
        if (!one.written && one.written.error().code == Code::kNotFound) one.written = {};
        if (!one.written) last = one.written;
    }
    return last;
}

// It will never be written, whenever it is tried.
bool is_hopeless(const Error& error) {
    return error.code == Code::kRefused || error.code == Code::kTooLarge;
}

} // namespace

Status Hub::State::take_receipt(const LinkPtr& link, const protocol::Frame& frame) {
    LK_TRY(receipt, protocol::decode<protocol::Receipt>(frame));
    if (receipt.vm_id != link->vm->id) return fail(Code::kRefused, "a receipt of another VM");
    if (receipt.epoch > link->sent_epoch) return fail(Code::kRefused, "a receipt for what was not sent");
    if (receipt.trouble.size() > kMaxTrouble * 2)
        return fail(Code::kTooLarge, "a receipt with an endless complaint");
    if (receipt.signature.size() > kMaxSignature)
        return fail(Code::kTooLarge, "a receipt with an endless signature");
    const bool is_told_again =
        receipt.epoch <= link->vm->confirmed_epoch && receipt.trouble.empty() && receipt.sessions_found == 0;
    receipts.push_back({link, std::move(receipt), 0});
    if (!is_told_again) {
        start_writing_receipts();
    } else if (!are_receipts_gathered) {
        are_receipts_gathered = true;
        spawn_vital(gather_receipts(), "gather_receipts");
    }
    return {};
}

void Hub::State::start_writing_receipts() {
    if (receipt_writers == kReceiptWriters) return;
    ++receipt_writers;
    spawn_vital(write_receipts(), "write_receipts");
}

// Of agents that come back and say again what they had said before: nobody waits for that, and they are
// thousands. Any other receipt takes them along.
asio::awaitable<void> Hub::State::gather_receipts() {
    asio::steady_timer pause(io, kGatherFor);
    co_await pause.async_wait(kAwait);
    are_receipts_gathered = false;
    if (!receipts.empty()) start_writing_receipts();
}

asio::awaitable<void> Hub::State::write_receipts() {
    while (!receipts.empty()) {
        std::vector<Pending> batch;
        while (!receipts.empty() && batch.size() < kReceiptsAtOnce) {
            batch.push_back(std::move(receipts.front()));
            receipts.pop_front();
        }
        const auto checked = std::make_shared<std::vector<Checked>>();
        for (const Pending& pending : batch) checked->push_back({pending.link->vm, pending.receipt});
        auto write_down = [this, checked]() -> Status {
            for (Checked& one : *checked) {
                const auto key = ledger::public_key_of(one.vm->key);
                one.is_genuine =
                    key && key->verify(one.receipt.signature, protocol::receipt_signed_bytes(one.receipt));
            }
            return write_all(parts.ledger, *checked);
        };

        const Status written = co_await offload(vital_pool, std::move(write_down));
        if (!written) log(LogLevel::kError, "fail to record receipts why=\"" + written.error().line() + "\"");
        std::vector<Board::Receipt> confirmed;
        std::vector<Pending> again;
        std::vector<LinkPtr> must_close;
        for (std::size_t i = 0; i < batch.size(); ++i) {
            const LinkPtr& link = batch[i].link;
            const Checked& one = (*checked)[i];
            if (!one.is_genuine) {
                log_of(LogLevel::kError, *one.vm, "refuse receipt", " why=\"its signature does not verify\"");
                link->tls->close();
                continue;
            }
            if (!one.written) { // what an agent has told it does not tell again over this connection
                const bool is_last = is_hopeless(one.written.error()) || ++batch[i].tries >= kMostTries;
                if (is_last) link->tls->close();
                if (link->tls->is_open()) again.push_back(std::move(batch[i]));
                continue;
            }
            confirmed.push_back({one.vm->id, one.receipt.epoch, !one.receipt.trouble.empty()});
            if (link->trouble != one.receipt.trouble) {
                link->trouble = one.receipt.trouble;
                link->is_seen_due = true;
            }
            if (link->is_leaving && one.receipt.epoch >= link->sent_epoch) must_close.push_back(link);
        }
        board.confirm(confirmed, parts.clock.now());
        figures.confirmed(confirmed, parts.clock.now());
        for (const LinkPtr& link : must_close) link->tls->close();
        if (again.empty()) continue;
        receipts.insert(receipts.begin(), std::make_move_iterator(again.begin()),
                        std::make_move_iterator(again.end()));
        asio::steady_timer pause(io, kWriteAgain);
        co_await pause.async_wait(kAwait);
    }
    --receipt_writers;
}

namespace {

using BoardEntries = std::unordered_map<std::uint64_t, Board::Entry>;

Board::Entry entry_of(const BoardEntries& entries, VmId vm) {
    const auto found = entries.find(vm.value);
    return found == entries.end() ? Board::Entry() : found->second;
}

// Those that had joined when it was made; of a VM's own revocation, that VM too, which it removed.
Result<std::vector<ledger::Vm>> expected_vms(ledger::Transaction& t,
                                             const revocation::Revocation& revocation) {
    LK_TRY(vms, ledger::list_vms(t));
    std::erase_if(vms, [&](const ledger::Vm& vm) { return vm.joined_at > revocation.made_at; });
    if (revocation.selector.kind != revocation::SelectorKind::kVm) return vms;
    LK_TRY(name, VmName::parse(revocation.selector.text));
    LK_TRY(removed, ledger::removed_vms_named(t, name));
    std::erase_if(removed, [&](const ledger::Vm& vm) { return vm.joined_at > revocation.made_at; });
    const auto newest = std::ranges::max_element(removed, {}, &ledger::Vm::joined_at);
    if (newest == removed.end()) return vms;
    vms.insert(std::ranges::upper_bound(vms, newest->name, {}, &ledger::Vm::name), *newest);
    return vms;
}

// Where it stands as long as it has not answered. Away from us a VM serves what it holds for its grace at
// most, and nothing that the revocation outlasts.
void place(VmAnswer& vm, const Board::Entry& entry, Micros drop_at) {
    vm.last_seen = std::max(vm.last_seen, entry.last_heard);
    if (entry.is_reachable()) {
        vm.answer = entry.is_refusing ? Answer::kRefused : Answer::kWaiting;
        vm.grants_end = drop_at;
    } else {
        vm.answer = Answer::kUnreachable;
        vm.grants_end = std::min(drop_at, vm.last_seen + vm.offline_grace);
    }
}

// All that one VM has said of it, in order. What it could not do it tries again with each revocation and each
// reconnect, so that the newest receipt says whether a trouble is over.
void answer_by(VmAnswer& vm, const std::vector<ledger::ReceiptRow>& own,
               const std::optional<ledger::ReceiptRow>& newest) {
    std::uint64_t still_there = 0;
    for (const ledger::ReceiptRow& row : own) {
        const protocol::Receipt& receipt = row.receipt;
        vm.sessions_found +=
            receipt.sessions_found - std::min<std::uint64_t>(still_there, receipt.sessions_found);
        vm.sessions_ended += receipt.sessions_ended;
        still_there = receipt.sessions_found - std::min(receipt.sessions_ended, receipt.sessions_found);
        if (vm.answered_at.value == 0 || !vm.trouble.empty() || !receipt.trouble.empty())
            vm.answered_at = row.received_at;
        vm.trouble = receipt.trouble;
        vm.receipt_epoch = row.epoch;
    }
    if (newest && newest->receipt.trouble.empty() && !vm.trouble.empty()) {
        vm.trouble.clear();
        vm.sessions_ended = vm.sessions_found;
        vm.answered_at = newest->received_at;
        vm.receipt_epoch = newest->epoch;
    }
    vm.answer = vm.trouble.empty() ? Answer::kConfirmed : Answer::kTrouble;
}

Result<ReceiptCount> read_count(ledger::Transaction& t, Epoch epoch, const BoardEntries& entries,
                                std::optional<Epoch> set_back_to) {
    LK_TRY(row, ledger::find_revocation(t, epoch));
    if (!row) {
        return fail(Code::kNotFound, "there is no revocation of epoch " + std::to_string(epoch.value),
                    "run: revoke ls");
    }
    LK_TRY(vms, expected_vms(t, row->revocation));
    LK_TRY(rows, ledger::receipts_for(t, epoch));
    const bool is_answered_before = set_back_to && epoch > *set_back_to; // by what it was before that
    std::unordered_map<std::uint64_t, std::vector<ledger::ReceiptRow>> receipts;
    for (ledger::ReceiptRow& one : rows) receipts[one.vm.value].push_back(std::move(one));

    ReceiptCount count{.epoch = epoch, .drop_at = row->revocation.drop_at, .vms = {}};
    for (const ledger::Vm& vm : vms) {
        VmAnswer& answer = count.vms.emplace_back();
        answer.id = vm.id;
        answer.name = vm.name;
        answer.last_seen = vm.last_seen;
        answer.offline_grace = from_seconds(vm.offline_grace_seconds);
        const Board::Entry entry = entry_of(entries, vm.id);
        place(answer, entry, count.drop_at);
        if (is_answered_before) continue;
        auto& own = receipts[vm.id.value];
        if (own.empty() && std::max(vm.confirmed_epoch, entry.confirmed) >= epoch) { // by a later one
            LK_TRY(first, ledger::first_receipt_since(t, vm.id, epoch));
            if (first) own.push_back(std::move(*first));
        }
        if (own.empty()) continue;
        std::optional<ledger::ReceiptRow> newest;
        if (!own.back().receipt.trouble.empty()) {
            LK_TRY(last, ledger::last_receipt_since(t, vm.id, epoch));
            newest = std::move(last);
        }
        answer_by(answer, own, newest);
    }
    return count;
}

} // namespace

Result<ReceiptCount> Hub::State::count_receipts(Epoch epoch) {
    const BoardEntries entries = board.entries();
    const std::optional<Epoch> set_back_to = board.set_back_to();
    return parts.ledger.read(
        [&](ledger::Transaction& t) { return read_count(t, epoch, entries, set_back_to); });
}

void Hub::State::look(ReceiptCount& count) const {
    const BoardEntries entries = board.entries();
    for (VmAnswer& vm : count.vms) {
        if (vm.answer == Answer::kConfirmed || vm.answer == Answer::kTrouble) continue;
        const Board::Entry entry = entry_of(entries, vm.id);
        if (entry.confirmed >= count.epoch) {
            vm.answer = entry.troubled >= count.epoch ? Answer::kTrouble : Answer::kConfirmed;
            continue;
        }
        const bool was_connected = vm.answer != Answer::kUnreachable;
        place(vm, entry, count.drop_at);
        if (was_connected && vm.answer == Answer::kUnreachable) vm.was_lost = true;
    }
}

} // namespace latchkey::hub
