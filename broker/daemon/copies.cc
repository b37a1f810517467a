// SPDX-License-Identifier: Apache-2.0
#include "broker/daemon/copies.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <iostream>

#include "broker/daemon/own_ledger.h"
#include "broker/daemon/running.h"
#include "broker/desk/text.h"
#include "broker/ledger/audit.h"
#include "broker/ledger/brokers.h"
#include "broker/ledger/copy.h"
#include "broker/ledger/detail.h"
#include "broker/ledger/restore.h"
#include "core/posix/file.h"

namespace latchkey::daemon {
namespace {

// The most that limits.certificate_seconds may be: what it was when a lost certificate was made is not known.
constexpr Micros kLongestCertificate = from_seconds(86400);

Result<std::unique_ptr<plugin_host::Store>> open_file(plugin_host::Loader& loader,
                                                      const std::filesystem::path& file) {
    return loader.store("sqlite", {{"path", file.string()}});
}

// A broker on another machine, which our lock does not know of.
Status need_no_broker(plugin_host::Connection& connection, const Config& config, Micros now) {
    return ledger::need_no_broker(connection, now,
                                  from_seconds(config.hub.heartbeat_seconds * ledger::kAliveHeartbeats));
}

Status need_no_broker(plugin_host::Store& store, const Config& config, const Clock& clock) {
    LK_TRY(connection, store.connect());
    return need_no_broker(*connection, config, clock.now());
}

// A file of a name that nobody has, 0600, gone with this object unless it was moved away.
class Temporary {
public:
    static Result<Temporary> make(const std::filesystem::path& beside) {
        std::string name = beside.string() + ".XXXXXX";
        const UniqueFd fd(::mkostemp(name.data(), O_CLOEXEC));
        if (fd) return Temporary(std::move(name));
        return fail(Code::kIo, "cannot make a file beside " + beside.string() + ": " + std::strerror(errno),
                    "give it a folder that the broker's user may write into");
    }
    Temporary(Temporary&& other) noexcept : path_(std::exchange(other.path_, {})) {}
    Temporary(const Temporary&) = delete;
    Temporary& operator=(const Temporary&) = delete;
    Temporary& operator=(Temporary&&) = delete;
    ~Temporary() {
        if (path_.empty()) return;
        for (const char* suffix : {"", "-wal", "-shm"}) ::unlink((path_ + suffix).c_str());
    }
    const std::string& path() const { return path_; }
    Status move_to(const std::filesystem::path& file) {
        const UniqueFd fd(::open(path_.c_str(), O_RDONLY | O_CLOEXEC));
        if (!fd || ::fsync(fd.get()) != 0 || ::rename(path_.c_str(), file.c_str()) != 0)
            return fail(Code::kIo, "cannot finish " + file.string() + ": " + std::strerror(errno));
        path_.clear();
        return posix::sync_folder(file.parent_path());
    }

private:
    explicit Temporary(std::string path) : path_(std::move(path)) {}
    std::string path_;
};

std::string described(const ledger::Copied& copied) {
    return std::to_string(copied.rows()) + " rows, epoch " + std::to_string(copied.epoch.value) +
           ", audit row " + std::to_string(copied.audit_rows) + " of " +
           desk::time_text(copied.last_audit_at);
}

Status refuse_existing(const std::filesystem::path& file) {
    std::error_code ignored;
    if (!std::filesystem::exists(std::filesystem::symlink_status(file, ignored))) return {};
    return fail(Code::kExists, "there is a file " + file.string() + " already", "name another one");
}

Failure damaged(const std::filesystem::path& file, const Error& why) {
    if (why.code != Code::kTampered) return fail(why);
    return fail(Code::kTampered, file.string() + " is cut short, damaged or altered: " + why.message,
                "take another backup");
}

// SQLite moves its log into the file as it closes, and tells nobody where the disk was too full for it.
Status need_finished(plugin_host::Loader& loader, const std::string& path,
                     const std::filesystem::path& file) {
    const auto cut_short = [&](const std::string& why) {
        return fail(Code::kIo, "cannot finish " + file.string() + ": " + why,
                    "make room on the disk of its folder");
    };
    std::error_code error;
    if (std::filesystem::exists(path + "-wal", error) || error) return cut_short("the disk is full");
    const auto bytes = std::filesystem::file_size(path, error);
    if (error) return cut_short(error.message());
    LK_TRY(store, open_file(loader, path));
    const Status whole = ledger::need_whole(*store, bytes);
    return whole ? Status() : cut_short(whole.error().message);
}

// A copy of our own, which may be migrated and whose folder may be written.
Result<Temporary> take_in(const Config& config, const std::filesystem::path& file) {
    LK_TRY(temporary, Temporary::make(config.broker.state_dir / "restore"));
    std::error_code error;
    std::filesystem::copy_file(file, temporary.path(), std::filesystem::copy_options::overwrite_existing,
                               error);
    if (error) {
        return fail(Code::kIo, "cannot read " + file.string() + ": " + error.message(),
                    "the broker's user must be able to read it");
    }
    if (::chmod(temporary.path().c_str(), 0600) != 0)
        return fail(Code::kIo, "cannot close " + temporary.path() + " to others");
    return temporary;
}

ledger::RevokeAll revocation_of(const AfterLoss& loss, const std::string& reason) {
    return {.at_least = Epoch{loss.epoch_at_least},
            .longest_certificate = kLongestCertificate,
            .accounts = loss.locks_users ? ledger::Accounts::kLocked : ledger::Accounts::kAsTheyAre,
            .reason = reason,
            .actor = "latchkeyd"};
}

void tell_revoked(const ledger::RevocationRow& row, const AfterLoss& loss) {
    std::cout << "Revoked: everything issued until now, by epoch " << row.revocation.epoch.value
              << ". Unlocks, invites and join tokens have ended"
              << (loss.locks_users ? "; all accounts but admins' are locked: user unlock U" : "") << ".\n";
}

} // namespace

Status backup(const Config& config, const std::filesystem::path& file) {
    LK_TRY(keys, settle(config));
    LK_CHECK(refuse_existing(file));
    LK_CHECK(need_source(config));
    plugin_host::Loader loader(config.broker.plugin_dir);
    LK_TRY(from, open_store(loader, config));
    LK_TRY(temporary, Temporary::make(file));
    const SystemClock clock;
    ledger::Copied copied;
    {
        LK_TRY(to, open_file(loader, temporary.path()));
        LK_TRY(done, ledger::copy_ledger(*from, *to,
                                         {.data_key = keys.data_key,
                                          .clock = clock,
                                          .contradictory = ledger::Contradictory::kCopied}));
        copied = std::move(done);
    } // closed: the write-ahead log is in the file now
    LK_CHECK(need_finished(loader, temporary.path(), file));
    LK_CHECK(temporary.move_to(file));
    std::cout << file.string() << ": " << described(copied) << "\n";
    if (copied.contradictions.empty()) return {};
    return fail(Code::kPartial,
                "the backup was written, and the ledger contradicts itself: " + copied.contradictions.front(),
                "a restore would refuse it: keep the backups before it, and see audit verify");
}

Status restore(const Config& config, const std::filesystem::path& file,
               const std::optional<AfterLoss>& after_loss) {
    LK_TRY(keys, settle(config));
    LK_TRY(alone, lock_state(config, Use::kAlone));
    LK_TRY(temporary, take_in(config, file));
    plugin_host::Loader loader(config.broker.plugin_dir);
    const auto bytes = std::filesystem::file_size(temporary.path());
    auto from = open_file(loader, temporary.path());
    if (!from) return damaged(file, from.error());
    if (const Status whole = ledger::need_whole(**from, bytes); !whole) return damaged(file, whole.error());
    LK_CHECK(ledger::Ledger::migrate(**from)); // it may be of an older version
    LK_TRY(to, open_store(loader, config));
    const SystemClock clock;
    std::optional<ledger::RevocationRow> revoked;
    const auto finish = [&](ledger::Transaction& t) -> Status {
        if (after_loss) {
            LK_TRY(row, ledger::revoke_all(t, revocation_of(*after_loss, "the ledger was restored")));
            revoked = std::move(row);
        }
        return ledger::append_audit(t, {"latchkeyd", "ledger.restore", "ledger", "done",
                                        ledger::Detail()
                                            .text("file", file.filename().string())
                                            .text("after_loss", after_loss ? "yes" : "no")
                                            .json()});
    };
    const auto copied =
        ledger::copy_ledger(**from, *to, {.data_key = keys.data_key, .clock = clock, .finish = finish});
    if (!copied) return damaged(file, copied.error());
    std::cout << "Restored: " << described(*copied) << ".\n";
    if (revoked) tell_revoked(*revoked, *after_loss);
    std::cout
        << "What was changed after that moment is lost: accounts locked, keys, memberships, grants and VMs\n"
           "removed, revocations of users and VMs. Compare with what you know, then: latchkeyd serve\n";
    return {};
}

Status copy(const Config& from_config, const Config& to_config) {
    LK_TRY(keys, settle(from_config));
    LK_TRY(to_keys, read_keys(to_config));
    if (!equal_secret(keys.data_key.view(), to_keys.data_key.view())) {
        return fail(Code::kConfig, "the two configurations name different data keys",
                    "let both name the key of the ledger that is copied");
    }
    LK_CHECK(need_source(from_config));
    LK_TRY(alone, lock_state(from_config, Use::kAlone)); // what it wrote after the copy would be lost
    plugin_host::Loader loader(from_config.broker.plugin_dir);
    LK_TRY(from, open_store(loader, from_config));
    const SystemClock clock;
    LK_CHECK(need_no_broker(*from, from_config, clock));
    LK_TRY(to, open_store(loader, to_config));
    const auto finish = [&](ledger::Transaction& t) -> Status {
        LK_CHECK(need_no_broker(*from, from_config, clock)); // nor one that was started meanwhile
        return ledger::append_audit(t, {"latchkeyd", "ledger.copy", "ledger", "done",
                                        ledger::Detail()
                                            .text("from", from_config.store.plugin)
                                            .text("to", to_config.store.plugin)
                                            .json()});
    };
    LK_TRY(copied,
           ledger::copy_ledger(*from, *to, {.data_key = keys.data_key, .clock = clock, .finish = finish}));
    for (const ledger::TableCount& table : copied.tables)
        std::cout << table.table << " " << table.rows << "\n";
    std::cout << "Copied and compared: " << described(copied) << ".\nNext: latchkeyd serve --config "
              << to_config.file.string() << ", and never again on the old store\n";
    return {};
}

Status revoke_all(const Config& config, const AfterLoss& after_loss) {
    LK_TRY(keys, settle(config));
    LK_CHECK(need_source(config));
    LK_TRY(alone, lock_state(config, Use::kAlone));
    plugin_host::Loader loader(config.broker.plugin_dir);
    LK_TRY(store, open_store(loader, config));
    const SystemClock clock;
    LK_TRY(ledger, ledger::Ledger::open(*store, {.data_key = keys.data_key.clone(), .clock = &clock}));
    LK_TRY(row, ledger->write([&](ledger::Transaction& t) -> Result<ledger::RevocationRow> {
        LK_CHECK(need_no_broker(t.sql, config, t.now));
        return ledger::revoke_all(t, revocation_of(after_loss, "the ledger was set back"));
    }));
    tell_revoked(row, after_loss);
    return {};
}

} // namespace latchkey::daemon
