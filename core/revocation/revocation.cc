// SPDX-License-Identifier: Apache-2.0
#include "core/revocation/revocation.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <unordered_set>

#include "core/keys/openssl.h"
#include "core/wire/reader.h"
#include "core/wire/writer.h"

namespace latchkey::revocation {
namespace {

constexpr std::string_view kSetMagic = "latchkey-revocations";
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kMaxTextSize = 256;

struct KindRow {
    SelectorKind kind;
    std::string_view name;
};
constexpr std::array kKinds = {KindRow{SelectorKind::kUser, "user"},
                               KindRow{SelectorKind::kKey, "key"},
                               KindRow{SelectorKind::kCertificate, "cert"},
                               KindRow{SelectorKind::kVm, "vm"},
                               KindRow{SelectorKind::kCa, "ca"},
                               KindRow{SelectorKind::kBefore, "before"}};

// A positive decimal number as we print it: no sign, no leading zero.
template <class T>
Result<T> parse_number(std::string_view text, std::string_view what) {
    T value = 0;
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (problem != std::errc() || end != text.data() + text.size() || value <= 0 || text.front() == '0')
        return fail(Code::kMalformed, "not a " + std::string(what), "give it in decimal digits");
    return value;
}

Status check_text(SelectorKind kind, std::string_view text) {
    switch (kind) {
        case SelectorKind::kUser:
            return UserNameTag::check(text);
        case SelectorKind::kKey:
        case SelectorKind::kCa:
            return FingerprintTag::check(text);
        case SelectorKind::kVm:
            return VmNameTag::check(text);
        case SelectorKind::kCertificate:
            LK_CHECK(parse_number<std::uint64_t>(text, "certificate serial"));
            return {};
        case SelectorKind::kBefore:
            LK_CHECK(parse_number<std::int64_t>(text, "time in microseconds since 1970"));
            return {};
    }
    return fail(Code::kMalformed, "revocation of an unknown kind");
}

std::uint64_t number_of(const Selector& selector) { // of a checked certificate or before selector
    std::uint64_t value = 0;
    std::from_chars(selector.text.data(), selector.text.data() + selector.text.size(), value);
    return value;
}

std::string name_key(SelectorKind kind, std::string_view text) {
    std::string key(1, static_cast<char>('0' + static_cast<int>(kind)));
    return key.append(text);
}

Failure tampered(std::string message) {
    return fail(Code::kTampered, std::move(message),
                "fetch the full set from the broker; deny logins until it is here");
}

void write_entry(wire::Writer& writer, const Revocation& entry) {
    writer.u64(entry.epoch.value);
    writer.u8(static_cast<std::uint8_t>(entry.selector.kind));
    writer.string(entry.selector.text);
    writer.u64(static_cast<std::uint64_t>(entry.made_at.value));
    writer.u64(static_cast<std::uint64_t>(entry.drop_at.value));
}

Result<Revocation> read_entry(wire::Reader& reader) {
    LK_TRY(epoch, reader.u64());
    LK_TRY(kind, reader.u8());
    LK_TRY(text, reader.text(kMaxTextSize));
    LK_TRY(made_at, reader.u64());
    LK_TRY(drop_at, reader.u64());
    LK_CHECK(check_text(static_cast<SelectorKind>(kind), text));
    return Revocation{.epoch = {epoch},
                      .selector = {static_cast<SelectorKind>(kind), std::string(text)},
                      .made_at = {static_cast<std::int64_t>(made_at)},
                      .drop_at = {static_cast<std::int64_t>(drop_at)}};
}

} // namespace

Bytes encode_set(Epoch epoch, const std::vector<Revocation>& entries) {
    wire::Writer writer;
    writer.reserve(64 + entries.size() * 64);
    writer.string(kSetMagic);
    writer.u32(kVersion);
    writer.u64(epoch.value);
    writer.u64(entries.size());
    for (const Revocation& entry : entries) write_entry(writer, entry);
    writer.raw(keys::sha256(writer.bytes()));
    return writer.take();
}

Bytes encode_entry(const Revocation& entry) {
    wire::Writer writer;
    write_entry(writer, entry);
    return writer.take();
}

Result<Revocation> decode_entry(ByteView bytes) {
    wire::Reader reader(bytes);
    LK_TRY(entry, read_entry(reader));
    LK_CHECK(reader.expect_end());
    return entry;
}

Result<Selector> Selector::parse(std::string_view kind, std::string_view text) {
    const auto row = std::ranges::find(kKinds, kind, &KindRow::name);
    if (row == kKinds.end()) {
        return fail(Code::kUsage, "unknown kind of revocation", "use user, key, cert, vm, ca or before");
    }
    LK_CHECK(check_text(row->kind, text));
    return Selector{row->kind, std::string(text)};
}

std::string_view Selector::kind_name() const {
    const auto row = std::ranges::find(kKinds, kind, &KindRow::kind);
    return row == kKinds.end() ? "unknown" : row->name;
}

Status RevocationSet::apply(const Revocation& revocation) {
    if (revocation.epoch.value != epoch_.value + 1) {
        return fail(Code::kConflict,
                    "revocation of epoch " + std::to_string(revocation.epoch.value) + " after epoch " +
                        std::to_string(epoch_.value),
                    "fetch the full set");
    }
    LK_CHECK(check_text(revocation.selector.kind, revocation.selector.text));
    epoch_ = revocation.epoch;
    entries_.push_back(revocation);
    index(entries_.back());
    return {};
}

Status RevocationSet::replace(Epoch epoch, std::vector<Revocation> revocations) {
    if (epoch < epoch_) {
        return fail(Code::kConflict,
                    "rollback: a set of epoch " + std::to_string(epoch.value) + " after epoch " +
                        std::to_string(epoch_.value),
                    "find out why the broker went back: a restored database?");
    }
    std::ranges::sort(revocations, {}, &Revocation::epoch);
    for (std::size_t i = 0; i < revocations.size(); ++i) {
        LK_CHECK(check_text(revocations[i].selector.kind, revocations[i].selector.text));
        if (revocations[i].epoch.value == 0 || revocations[i].epoch > epoch)
            return fail(Code::kMalformed, "revocation outside the epochs of its set");
        if (i > 0 && revocations[i].epoch == revocations[i - 1].epoch)
            return fail(Code::kMalformed, "two revocations of one epoch");
    }
    epoch_ = epoch;
    entries_ = std::move(revocations);
    index_all();
    return {};
}

void RevocationSet::index_all() {
    by_serial_.clear();
    by_name_.clear();
    before_.reset();
    shadowed_ = 0;
    next_drop_ = {INT64_MAX};
    by_serial_.reserve(entries_.size());
    for (const Revocation& entry : entries_) index(entry);
}

// Of several revocations of one thing the farthest counts: it covers what the others cover.
void RevocationSet::index(const Revocation& revocation) {
    const Selector& selector = revocation.selector;
    next_drop_ = std::min(next_drop_, revocation.drop_at);
    if (selector.kind == SelectorKind::kCertificate) {
        const auto [place, is_new] = by_serial_.insert_or_assign(number_of(selector), revocation.epoch);
        if (!is_new) ++shadowed_;
        return;
    }
    if (selector.kind == SelectorKind::kBefore) {
        const Micros until{static_cast<std::int64_t>(number_of(selector))};
        if (before_) ++shadowed_;
        if (!before_ || before_->until < until) before_ = Reach{revocation.epoch, until};
        return;
    }
    const Reach reach{revocation.epoch, revocation.made_at};
    const auto [place, is_new] = by_name_.try_emplace(name_key(selector.kind, selector.text), reach);
    if (is_new) return;
    ++shadowed_;
    if (place->second.until <= reach.until) place->second = reach;
}

// Only where nothing is shadowed: what leaves the index then has no other behind it.
void RevocationSet::unindex(const Revocation& revocation) {
    const Selector& selector = revocation.selector;
    if (selector.kind == SelectorKind::kCertificate) {
        by_serial_.erase(number_of(selector));
    } else if (selector.kind == SelectorKind::kBefore) {
        before_.reset();
    } else {
        by_name_.erase(name_key(selector.kind, selector.text));
    }
}

std::optional<Revocation> RevocationSet::at(Epoch epoch) const {
    const auto found = std::ranges::lower_bound(entries_, epoch, {}, &Revocation::epoch);
    if (found == entries_.end() || found->epoch != epoch) return std::nullopt;
    return *found;
}

std::optional<Revocation> RevocationSet::covers(const Credential& credential) const {
    if (credential.serial.value != 0) {
        if (const auto found = by_serial_.find(credential.serial.value); found != by_serial_.end())
            return at(found->second);
    }
    const std::array<std::pair<SelectorKind, std::string_view>, 4> names = {
        {{SelectorKind::kUser, credential.user.str()},
         {SelectorKind::kKey, credential.key.str()},
         {SelectorKind::kVm, credential.vm.str()},
         {SelectorKind::kCa, credential.ca.str()}}};
    for (const auto& [kind, text] : names) {
        if (text.empty()) continue;
        const auto found = by_name_.find(name_key(kind, text));
        if (found != by_name_.end() && credential.issued_at <= found->second.until)
            return at(found->second.epoch);
    }
    if (before_ && credential.issued_at < before_->until) return at(before_->epoch);
    return std::nullopt;
}

std::size_t RevocationSet::drop_ended(Micros now) {
    if (now < next_drop_) return 0;
    next_drop_ = {INT64_MAX};
    const std::size_t dropped = std::erase_if(entries_, [&](const Revocation& entry) {
        const bool has_ended = entry.drop_at <= now;
        if (!has_ended) next_drop_ = std::min(next_drop_, entry.drop_at);
        if (has_ended && shadowed_ == 0) unindex(entry);
        return has_ended;
    });
    if (dropped > 0 && shadowed_ > 0) index_all();
    return dropped;
}

std::size_t RevocationSet::size() const {
    return entries_.size();
}

std::vector<Revocation> RevocationSet::all() const {
    return entries_;
}

std::vector<Revocation> RevocationSet::after(Epoch epoch) const {
    return {std::ranges::upper_bound(entries_, epoch, {}, &Revocation::epoch), entries_.end()};
}

std::vector<Revocation> RevocationSet::newer_than(Epoch epoch, std::size_t most) const {
    auto first = std::ranges::upper_bound(entries_, epoch, {}, &Revocation::epoch);
    if (static_cast<std::size_t>(entries_.end() - first) > most)
        first = entries_.end() - static_cast<std::ptrdiff_t>(most);
    return {first, entries_.end()};
}

Result<RevocationSet> RevocationSet::decode(ByteView bytes) {
    static constexpr std::size_t digest_size = 32;
    if (bytes.size() > kMaxEncodedSize) return tampered("revocation file over its limit");
    if (bytes.size() < digest_size) return tampered("revocation file that is cut short");
    const ByteView body = bytes.first(bytes.size() - digest_size);
    if (!equal(keys::sha256(body), bytes.last(digest_size)))
        return tampered("revocation file that is torn or altered: its checksum does not fit");
    wire::Reader reader(body);
    const auto magic = reader.text();
    const auto version = reader.u32();
    const auto epoch = reader.u64();
    const auto count = reader.u64();
    if (!magic || *magic != kSetMagic || !version || !epoch || !count)
        return tampered("this is no revocation file");
    if (*version != kVersion) return tampered("revocation file of version " + std::to_string(*version));
    std::vector<Revocation> entries;
    std::uint64_t newest = 0;
    for (std::uint64_t i = 0; i < *count; ++i) {
        auto entry = read_entry(reader);
        if (!entry) return tampered("revocation file: " + entry.error().message);
        if (entry->epoch.value <= newest) return tampered("revocation file with epochs out of order");
        newest = entry->epoch.value;
        entries.push_back(std::move(*entry));
    }
    if (!reader.at_end()) return tampered("revocation file with bytes left over");
    RevocationSet set;
    if (auto status = set.replace({*epoch}, std::move(entries)); !status)
        return tampered("revocation file: " + status.error().message);
    return set;
}

} // namespace latchkey::revocation
