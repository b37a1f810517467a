// SPDX-License-Identifier: Apache-2.0
#include "agent/trust/revocation_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/base/unique_handle.h"
#include "core/keys/openssl.h"
#include "core/posix/file.h"
#include "core/wire/reader.h"
#include "core/wire/writer.h"

namespace latchkey::agent {
namespace {

constexpr std::size_t kCheckSize = 16;   // of a SHA-256
constexpr std::size_t kMaxRecord = 1024; // a selector's text is 256 bytes at most
constexpr std::uintmax_t kSmallLog = 256 * 1024;

// The check of what is not there yet: an empty log over this set.
Bytes check_of_set(ByteView encoded) {
    const ByteView digest = encoded.last(std::min<std::size_t>(encoded.size(), kCheckSize));
    return to_bytes(digest);
}

Bytes check_of(ByteView before, ByteView payload) {
    Bytes covered = to_bytes(before);
    covered.insert(covered.end(), payload.begin(), payload.end());
    const auto digest = keys::sha256(covered);
    return to_bytes(ByteView(digest).first(kCheckSize));
}

// string payload, check; the payload as in a set.
Bytes record_of(const revocation::Revocation& entry, Bytes& check) {
    const Bytes payload = revocation::encode_entry(entry);
    check = check_of(check, payload);
    wire::Writer writer;
    writer.string(payload);
    writer.raw(check);
    return writer.take();
}

Failure log_failure(const std::string& what, const std::filesystem::path& path) {
    const int cause = errno;
    return fail(Code::kIo, "cannot " + what + " " + path.string() + ": " + std::strerror(cause),
                cause == ENOSPC || cause == EDQUOT ? "free space on that disk" : "");
}

bool has_size(const std::filesystem::path& path, std::uintmax_t size) {
    std::error_code problem;
    return std::filesystem::file_size(path, problem) == size && !problem;
}

Status write_whole(int fd, ByteView content, const std::filesystem::path& path) {
    while (!content.empty()) {
        const ssize_t put = ::write(fd, content.data(), content.size());
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return log_failure("write", path);
        content = content.subspan(static_cast<std::size_t>(put));
    }
    if (::fdatasync(fd) != 0) return log_failure("sync", path);
    return {};
}

} // namespace

RevocationFiles::Loaded RevocationFiles::load() {
    Loaded loaded;
    last_check_.clear();
    log_size_ = 0;
    const auto encoded = posix::read_file(set_, revocation::kMaxEncodedSize);
    if (!encoded) {
        loaded.damage = encoded.error().message;
        loaded.is_missing = encoded.error().code == Code::kNotFound;
        return loaded;
    }
    auto set = revocation::RevocationSet::decode(*encoded);
    if (!set) {
        loaded.damage = set_.string() + ": " + set.error().message;
        return loaded;
    }
    loaded.set = *std::move(set);
    set_size_ = encoded->size();
    const Bytes base = check_of_set(*encoded);
    last_check_ = base;

    const auto log = posix::read_file(log_, revocation::kMaxEncodedSize);
    if (!log && log.error().code == Code::kNotFound) return loaded;
    if (!log) {
        loaded.damage = log.error().message;
        return loaded;
    }
    // The log begins with the check of its set. A set that was replaced since holds all of the old log.
    const std::size_t head = std::min(log->size(), kCheckSize);
    if (head == kCheckSize && !equal(ByteView(*log).first(head), base)) return loaded;
    wire::Reader reader(ByteView(*log).subspan(head));
    log_size_ = head;
    const bool has_head = head == kCheckSize || log->empty();
    while (has_head && !reader.at_end()) {
        const auto payload = reader.string(kMaxRecord);
        const auto check = payload ? reader.raw(kCheckSize) : Result<ByteView>(fail(payload.error()));
        if (!check || !equal(*check, check_of(last_check_, *payload))) break;
        auto entry = revocation::decode_entry(*payload);
        if (!entry || !loaded.set.apply(*entry)) break;
        last_check_ = to_bytes(*check);
        log_size_ += sizeof(std::uint32_t) + payload->size() + kCheckSize;
    }
    if (!has_head || log_size_ != log->size()) {
        loaded.damage =
            log_.string() + " is torn or altered after epoch " + std::to_string(loaded.set.epoch().value);
        last_check_.clear();
    }
    return loaded;
}

Status RevocationFiles::append(const std::vector<revocation::Revocation>& entries) {
    if (last_check_.empty())
        return fail(Code::kTampered, "the record of revocations is torn", "write all of it anew");
    const bool is_new = log_size_ == 0;
    if (!has_size(set_, set_size_) || (!is_new && !has_size(log_, log_size_)))
        return fail(Code::kTampered, "somebody else changed the record of revocations",
                    "write all of it anew");
    const UniqueFd fd(::open(log_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | (is_new ? O_TRUNC : 0), 0600));
    if (!fd) return log_failure("open", log_);
    Bytes check = last_check_;
    Bytes added = is_new ? check : Bytes();
    for (const revocation::Revocation& entry : entries) {
        const Bytes record = record_of(entry, check);
        added.insert(added.end(), record.begin(), record.end());
    }
    if (::lseek(fd.get(), static_cast<off_t>(log_size_), SEEK_SET) < 0) return log_failure("seek in", log_);
    if (const Status written = write_whole(fd.get(), added, log_); !written) {
        const bool is_undone = ::ftruncate(fd.get(), static_cast<off_t>(log_size_)) == 0;
        if (!is_undone || ::fdatasync(fd.get()) != 0)
            last_check_.clear(); // then nothing is added to it any more
        return written;
    }
    if (is_new) LK_CHECK(posix::sync_folder(log_.parent_path()));
    last_check_ = std::move(check);
    log_size_ += added.size();
    return {};
}

Status RevocationFiles::replace(ByteView encoded_set) {
    LK_CHECK(posix::write_file(set_, encoded_set, 0600));
    last_check_ = check_of_set(encoded_set);
    set_size_ = encoded_set.size();
    log_size_ = 0; // the log on disk is of another set from here on; the next append begins it anew
    return {};
}

bool RevocationFiles::wants_compaction() const {
    return log_size_ > std::max(kSmallLog, set_size_);
}

Status RevocationFiles::compact(Micros ended_by) {
    RevocationFiles onlooker(*this);
    Loaded loaded = onlooker.load();
    if (!loaded.damage.empty()) return fail(Code::kTampered, loaded.damage);
    loaded.set.drop_ended(ended_by);
    return replace(loaded.set.encode());
}

} // namespace latchkey::agent
