// SPDX-License-Identifier: Apache-2.0
#include "agent/gate/session_codec.h"

#include "core/protocol/codec.h"

namespace latchkey::agent {
namespace {

// As the first release wrote it; an agent that was upgraded still reads it.
struct FirstEntry {
    std::uint64_t id = 0;
    std::uint32_t pid = 0;
    std::uint64_t start_ticks = 0;
    UserName user;
    Login login;
    Fingerprint key;
    Serial serial;
    Fingerprint ca;
    Micros issued_at;
    std::string from;
    Micros since;
    std::string logind_session;
    void fields(auto& archive) {
        archive(id, pid, start_ticks, user, login, key, serial, ca, issued_at, from, since, logind_session);
    }
    static std::optional<std::uint32_t> audit() { return std::nullopt; }
};

struct Entry : FirstEntry {
    bool has_audit = false;
    std::uint32_t audit_session = 0;
    void fields(auto& archive) {
        FirstEntry::fields(archive);
        archive(has_audit, audit_session);
    }
    std::optional<std::uint32_t> audit() const {
        return has_audit ? std::optional(audit_session) : std::nullopt;
    }
};

template <class E>
Result<std::vector<BoundSession>> decode_as(ByteView bytes) {
    std::vector<E> entries;
    protocol::Decoder decoder(bytes);
    decoder(entries);
    LK_CHECK(decoder.finish());
    std::vector<BoundSession> sessions;
    sessions.reserve(entries.size());
    for (E& entry : entries) {
        if (entry.id == 0 || entry.pid == 0 || entry.pid > INT32_MAX)
            return fail(Code::kMalformed, "session without id or process");
        BoundSession session;
        session.id = entry.id;
        session.monitor = {static_cast<pid_t>(entry.pid), entry.start_ticks};
        session.user = std::move(entry.user);
        session.login = std::move(entry.login);
        session.key = std::move(entry.key);
        session.serial = entry.serial;
        session.ca = std::move(entry.ca);
        session.issued_at = entry.issued_at;
        session.from = std::move(entry.from);
        session.since = entry.since;
        session.logind_session = std::move(entry.logind_session);
        session.audit_session = entry.audit();
        sessions.push_back(std::move(session));
    }
    return sessions;
}

} // namespace

Bytes encode_sessions(const std::vector<BoundSession>& sessions) {
    std::vector<Entry> entries;
    entries.reserve(sessions.size());
    for (const BoundSession& session : sessions) {
        Entry entry;
        entry.id = session.id;
        entry.pid = static_cast<std::uint32_t>(session.monitor.pid);
        entry.start_ticks = session.monitor.start_ticks;
        entry.user = session.user;
        entry.login = session.login;
        entry.key = session.key;
        entry.serial = session.serial;
        entry.ca = session.ca;
        entry.issued_at = session.issued_at;
        entry.from = session.from;
        entry.since = session.since;
        entry.logind_session = session.logind_session;
        entry.has_audit = session.audit_session.has_value();
        entry.audit_session = session.audit_session.value_or(0);
        entries.push_back(std::move(entry));
    }
    protocol::Encoder encoder;
    encoder(entries);
    return encoder.take();
}

Result<std::vector<BoundSession>> decode_sessions(ByteView bytes) {
    auto sessions = decode_as<Entry>(bytes);
    if (sessions) return sessions;
    auto first = decode_as<FirstEntry>(bytes);
    return first ? std::move(first) : std::move(sessions);
}

} // namespace latchkey::agent
