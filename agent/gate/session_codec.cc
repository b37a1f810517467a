// SPDX-License-Identifier: Apache-2.0
#include "agent/gate/session_codec.h"

#include "core/protocol/codec.h"

namespace latchkey::agent {
namespace {

struct Entry {
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
};

} // namespace

Bytes encode_sessions(const std::vector<BoundSession>& sessions) {
    std::vector<Entry> entries;
    entries.reserve(sessions.size());
    for (const BoundSession& session : sessions) {
        entries.push_back({session.id, static_cast<std::uint32_t>(session.monitor.pid),
                           session.monitor.start_ticks, session.user, session.login, session.key,
                           session.serial, session.ca, session.issued_at, session.from, session.since,
                           session.logind_session});
    }
    protocol::Encoder encoder;
    encoder(entries);
    return encoder.take();
}

Result<std::vector<BoundSession>> decode_sessions(ByteView bytes) {
    std::vector<Entry> entries;
    protocol::Decoder decoder(bytes);
    decoder(entries);
    LK_CHECK(decoder.finish());
    std::vector<BoundSession> sessions;
    sessions.reserve(entries.size());
    for (Entry& entry : entries) {
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
        sessions.push_back(std::move(session));
    }
    return sessions;
}

} // namespace latchkey::agent
