// SPDX-License-Identifier: Apache-2.0
#include "agent/run/keeper.h"

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
    disk_.write((this->*entry.job)(), [this, &entry](const Status& written) {
        entry.is_writing = false;
        if (written) {
            state_.troubles.clear(entry.trouble);
        } else {
            if (state_.troubles.of(entry.trouble).empty())
                log_error("fail to record state why=" + written.error().line());
            state_.troubles.set(entry.trouble, written.error().line());
        }
        if (entry.is_due) start(entry);
    });
}

void Keeper::try_again() {
    for (Entry* entry : {&trust_, &session_list_}) {
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

void Keeper::restore_sessions() {
    const auto encoded = folder_.load_sessions();
    if (!encoded && encoded.error().code == Code::kNotFound) return;
    auto held = encoded ? decode_sessions(*encoded) : fail(encoded.error());
    if (held) return sessions_.restore(*std::move(held));
    log_error("fail to load sessions why=" + held.error().line());
    state_.troubles.set(TroubleKind::kSessions,
                        "sessions of before the restart are not known: " + held.error().message);
}

} // namespace latchkey::agent
