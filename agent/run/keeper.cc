// SPDX-License-Identifier: Apache-2.0
#include "agent/run/keeper.h"

#include <optional>
#include <utility>

#include "agent/gate/session_codec.h"
#include "agent/log/log.h"

namespace latchkey::agent {

void Keeper::keep(Entry& entry) {
    entry.is_due = true;
    if (!entry.is_writing) start(entry);
}

void Keeper::start(Entry& entry) {
    entry.is_due = false;
    entry.is_writing = true;
    entry.watching = std::exchange(entry.waiting, {});
    entry.disk.write((this->*entry.job)(), [this, &entry](const Status& written) {
        entry.is_writing = false;
        if (written) {
            state_.troubles.clear(entry.trouble);
        } else {
            if (state_.troubles.of(entry.trouble).empty())
                log_error("fail to record state why=" + written.error().line());
            state_.troubles.set(entry.trouble, written.error().line());
        }
        const auto watching = std::exchange(entry.watching, {});
        if (entry.is_due) start(entry);
        for (const auto& done : watching) done(written);
    });
}

void Keeper::keep_sessions(SessionBook::Recorded done) {
    const bool is_under_way = session_list_.is_writing && !session_list_.is_due;
    if (done && is_under_way) return session_list_.watching.push_back(std::move(done));
    if (done) session_list_.waiting.push_back(std::move(done));
    keep(session_list_);
}

void Keeper::keep_brokers(std::vector<protocol::BrokerAddress> brokers) {
    disk_.write(
        [folder = folder_, brokers = std::move(brokers)]() -> Status { return folder.save_brokers(brokers); },
        [](const Status& written) {
            if (!written) log_warn("fail to record brokers why=" + written.error().line());
        });
}

void Keeper::try_again() {
    for (Entry* entry : {&trust_, &session_list_, &break_glass_, &report_list_}) {
        if (!state_.troubles.of(entry->trouble).empty() && !entry->is_writing) start(*entry);
    }
}

// The list first: a crash in between leaves logins gated, not open.
std::function<Status()> Keeper::trust_job() const {
    return [folder = folder_, trust = state_.trust, gated = state_.gated()]() -> Status {
        LK_CHECK(folder.save_managed_logins(gated));
        return folder.save_trust(trust);
    };
}

std::function<Status()> Keeper::sessions_job() const {
    return [folder = folder_, encoded = encode_sessions(sessions_.all())] {
        return folder.save_sessions(encoded);
    };
}

std::function<Status()> Keeper::break_glass_job() const {
    return [folder = folder_, logins = state_.break_glass] { return folder.save_break_glass(logins); };
}

std::function<Status()> Keeper::reports_job() const {
    return [folder = folder_, encoded = reports_.encode()] { return folder.save_reports(encoded); };
}

void Keeper::collect_uses() {
    const BreakGlassSpool spool(folder_.path());
    if (is_collecting_ || !spool.has_something()) return;
    is_collecting_ = true;
    auto read = std::make_shared<Result<BreakGlassSpool::Read>>(fail(Code::kInternal, "not read"));
    disk_.write(
        [spool, read]() -> Status {
            *read = spool.read();
            if (!*read) return fail(read->error());
            return {};
        },
        [this, read](const Status&) { take_uses(*read); });
}

// The reports are on disk before the spool is emptied: its writing is queued behind theirs.
void Keeper::take_uses(const Result<BreakGlassSpool::Read>& read) {
    if (!read) {
        is_collecting_ = false;
        log_error("fail to read break-glass uses why=" + read.error().line());
        return;
    }
    for (const protocol::BreakGlassUse& use : read->uses.uses) reports_.add(use);
    if (read->uses.unreadable > 0) {
        reports_.add("break-glass", std::to_string(read->uses.unreadable) +
                                        " uses of a break-glass account whose record is torn");
    }
    disk_.write(
        [folder = folder_, encoded = reports_.encode(), spool = BreakGlassSpool(folder_.path()),
         size = read->size]() -> Status {
            LK_CHECK(folder.save_reports(encoded));
            return spool.empty(size);
        },
        [this](const Status& emptied) {
            is_collecting_ = false;
            if (!emptied) log_error("fail to record break-glass uses why=" + emptied.error().line());
        });
}

void Keeper::restore() {
    restore_sessions();
    restore_reports();
}

void Keeper::restore_reports() {
    const auto encoded = folder_.load_reports();
    if (!encoded && encoded.error().code == Code::kNotFound) return;
    Status restored = fail(Code::kTampered, "its file is torn");
    if (encoded) restored = reports_.restore(*encoded);
    if (!restored) reports_.add("state", "what was to be reported is lost: " + restored.error().message);
}

void Keeper::restore_sessions() {
    const auto encoded = folder_.load_sessions();
    auto held = encoded ? decode_sessions(*encoded) : fail(encoded.error());
    std::optional<Error> damage;
    if (!held && held.error().code != Code::kNotFound) damage = held.error();
    if (held) sessions_.restore(*std::move(held));
    if (!damage && !folder_.has_lost_sessions()) return;
    // Remembered: the next list is whole again, but those that were in this one are still not in it.
    state_.troubles.set(
        TroubleKind::kSessions,
        "sessions of before a restart are not known, and no revocation ends them: end them by "
        "hand, then remove " +
            folder_.lost_sessions_file().string() + " and restart the agent");
    if (!damage) return;
    log_error("fail to load sessions why=" + damage->line());
    if (const Status noted = folder_.note_lost_sessions(); !noted)
        log_error("fail to record that sessions are lost why=" + noted.error().line());
    reports_.add("state", "sessions of before the restart are not known: " + damage->message);
}

} // namespace latchkey::agent
