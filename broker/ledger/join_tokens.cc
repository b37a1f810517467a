// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "broker/ledger/audit.h"
#include "broker/ledger/detail.h"
#include "broker/ledger/random_word.h"
#include "broker/ledger/tables.h"
#include "broker/ledger/vms.h"
#include "core/keys/openssl.h"

namespace latchkey::ledger {

template <>
struct Table<JoinToken> { // named by a text, which is content
    static constexpr std::string_view kName = "join_tokens";
    static std::uint64_t id(const JoinToken&) { return 0; }
    static void encode(wire::Writer& writer, const JoinToken& token) {
        writer.string(token.id);
        writer.string(token.secret_hash);
        writer.u32(token.uses_left);
        writer.u64(static_cast<std::uint64_t>(token.ends_at.value));
        writer.string(token.name_pattern);
        writer.string(encode_labels(token.labels));
    }
};

namespace {

constexpr std::size_t kIdLength = 12;
constexpr std::size_t kSecretLength = 26; // 130 bits
constexpr std::size_t kRawKeySize = 32;
constexpr std::size_t kPatternLimit = 64;
constexpr std::size_t kLabelLimit = 64;
constexpr std::size_t kMostLabels = 32;

Bytes hash_of(ByteView secret) {
    return to_bytes(keys::sha256(secret));
}

bool is_label_text(std::string_view text) {
    return !text.empty() && text.size() <= kLabelLimit && std::ranges::all_of(text, [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
               c == '_' || c == '.' || c == '/';
    });
}

Status check_labels(const std::vector<protocol::KeyValue>& labels) {
    if (labels.size() > kMostLabels) return fail(Code::kTooLarge, "over 32 labels");
    for (const protocol::KeyValue& label : labels) {
        if (is_label_text(label.name) && is_label_text(label.value)) continue;
        return fail(Code::kMalformed, "not a label",
                    "use name=value of letters, digits and -_./, 64 characters each at most");
    }
    return {};
}

Status check_pattern(std::string_view pattern) {
    const bool good =
        !pattern.empty() && pattern.size() <= kPatternLimit && std::ranges::all_of(pattern, [](char c) {
            return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '*' ||
                   c == '?';
        });
    if (good) return {};
    return fail(Code::kMalformed, "not a pattern of VM names", "use a-z, 0-9, - and . with * and ?");
}

// '*' any text, '?' one character; steps back to the last star alone, so linear in pattern times text.
bool matches(std::string_view pattern, std::string_view text) {
    std::size_t p = 0;
    std::size_t i = 0;
    std::size_t star = std::string_view::npos;
    std::size_t star_text = 0;
    while (i < text.size()) {
        if (p < pattern.size() && pattern[p] == '*') {
            star = p++;
            star_text = i;
        } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[i])) {
            ++p;
            ++i;
        } else if (star != std::string_view::npos) {
            p = star + 1;
            i = ++star_text;
        } else {
            return false;
        }
    }
    while (p < pattern.size() && pattern[p] == '*') ++p;
    return p == pattern.size();
}

Failure no_such_token() {
    return fail(Code::kNotFound, "the join token is not known here", "ask an admin: vm token");
}

#define LK_TOKEN_COLUMNS "id, version, secret_hash, uses_left, ends_at, name_pattern, labels, mac"

std::optional<Stored<JoinToken>> take_token(Transaction& t, const Row& row) {
    Columns columns(row);
    Stored<JoinToken> stored;
    JoinToken& token = stored.value;
    token.id = columns.text();
    stored.version = columns.number();
    token.secret_hash = columns.bytes();
    token.uses_left = columns.number32();
    token.ends_at = columns.micros();
    token.name_pattern = columns.text();
    auto labels = decode_labels(columns.bytes());
    const Bytes mac = columns.bytes();
    if (labels) token.labels = std::move(*labels);
    wire::Writer writer;
    Table<JoinToken>::encode(writer, token);
    const RowName name{Table<JoinToken>::kName, 0, stored.version};
    if (columns.is_good() && t.sealer.fits(name, writer.bytes(), mac)) return stored;
    t.tampered.note(Table<JoinToken>::kName, 0);
    return std::nullopt;
}

Result<Stored<JoinToken>> find_token(Transaction& t, std::string_view id, ByteView secret) {
    LK_TRY(row, query_one(t, "SELECT " LK_TOKEN_COLUMNS " FROM join_tokens WHERE id = $1", id));
    if (!row) return no_such_token();
    auto stored = take_token(t, *row);
    if (!stored || !equal_secret(hash_of(secret), stored->value.secret_hash)) return no_such_token();
    return *std::move(stored);
}

Status check_use(const Transaction& t, const JoinToken& token, const VmName& name,
                 const std::vector<protocol::KeyValue>& labels) {
    if (token.ends_at <= t.now) {
        return fail(Code::kExpired, "the join token has expired", "ask an admin for a new one: vm token");
    }
    if (token.uses_left == 0) {
        return fail(Code::kConflict, "the join token is used up", "ask an admin for a new one: vm token");
    }
    if (!matches(token.name_pattern, name.str())) {
        return fail(Code::kRefused,
                    "the join token is for VMs named " + token.name_pattern + ", not " + name.str(),
                    "ask an admin for a token of that name");
    }
    for (const protocol::KeyValue& label : labels) {
        if (std::ranges::find(token.labels, label) != token.labels.end()) continue;
        return fail(Code::kRefused, "the join token does not give all labels that were asked for",
                    "ask an admin: vm token --label NAME=VALUE");
    }
    return {};
}

Status take_use(Transaction& t, Stored<JoinToken> stored) {
    const std::uint64_t before = stored.version;
    const std::uint64_t next = before + 1;
    stored.value.uses_left -= 1;
    LK_TRY(done, query(t,
                       "UPDATE join_tokens SET version = $3, uses_left = $4, mac = $5 "
                       "WHERE id = $1 AND version = $2",
                       stored.value.id, before, next, stored.value.uses_left, mac_of(t, stored.value, next)));
    if (done.changed == 1) return {};
    return fail(Code::kConflict, "the join token was used meanwhile", "try again");
}

} // namespace

Result<FreshToken> add_join_token(Transaction& t, std::uint32_t uses, Micros ends_at,
                                  const std::string& name_pattern,
                                  const std::vector<protocol::KeyValue>& labels, const std::string& actor) {
    if (uses == 0) return fail(Code::kUsage, "a join token needs at least one use");
    if (ends_at <= t.now) return fail(Code::kUsage, "a join token must end in the future");
    LK_CHECK(check_pattern(name_pattern));
    LK_CHECK(check_labels(labels));
    FreshToken fresh;
    fresh.id = random_word(kIdLength);
    std::string secret = random_word(kSecretLength);
    fresh.secret = SecretBytes(as_bytes(secret));
    wipe({reinterpret_cast<std::uint8_t*>(secret.data()), secret.size()});
    const JoinToken token{.id = fresh.id,
                          .secret_hash = hash_of(fresh.secret.view()),
                          .uses_left = uses,
                          .ends_at = ends_at,
                          .name_pattern = name_pattern,
                          .labels = labels};
    LK_CHECK(execute(t,
                     "INSERT INTO join_tokens (id, version, secret_hash, uses_left, ends_at, name_pattern, "
                     "labels, mac) VALUES ($1, 1, $2, $3, $4, $5, $6, $7)",
                     token.id, token.secret_hash, token.uses_left, token.ends_at, token.name_pattern,
                     encode_labels(labels), mac_of(t, token, 1)));
    std::vector<std::string> words;
    words.reserve(labels.size());
    for (const protocol::KeyValue& label : labels) words.push_back(label.name + "=" + label.value);
    LK_CHECK(append_audit(t, {actor, "vm.token", "token:" + token.id, "done",
                              Detail()
                                  .number("uses", uses)
                                  .time("ends_at", ends_at)
                                  .text("name_pattern", name_pattern)
                                  .list("labels", words)
                                  .json()}));
    return fresh;
}

Result<Vm> join_vm(Transaction& t, std::string_view token_id, ByteView secret, const VmName& name,
                   ByteView raw_key, const std::vector<protocol::KeyValue>& labels) {
    if (name.empty() || raw_key.size() != kRawKeySize)
        return fail(Code::kMalformed, "not a VM's name and key");
    LK_TRY(token, find_token(t, token_id, secret));
    LK_TRY(known, find_vm_by_key(t, raw_key));
    if (known) return std::move(*known); // a join that was interrupted
    LK_CHECK(check_use(t, token.value, name, labels));
    LK_TRY(taken, query_one(t, "SELECT 1 FROM vms WHERE name = $1 AND state = 1", name));
    if (taken) {
        return fail(Code::kExists, "there is a VM " + name.str() + " already",
                    "join with another name, or an admin runs: vm rm " + name.str());
    }
    Vm vm;
    vm.id = {t.new_id().value};
    vm.name = name;
    vm.key = to_bytes(raw_key);
    vm.labels = token.value.labels;
    vm.joined_at = t.now;
    vm.last_seen = t.now;
    LK_CHECK(execute(t,
                     "INSERT INTO vms (id, version, name, raw_key, labels, state, offline_grace_seconds, "
                     "joined_at, mac, last_seen, confirmed_epoch, clock_offset_micros, software, trouble) "
                     "VALUES ($1, 1, $2, $3, $4, $5, $6, $7, $8, $9, 0, 0, '', '')",
                     vm.id, vm.name, vm.key, encode_labels(vm.labels), vm.state, vm.offline_grace_seconds,
                     vm.joined_at, mac_of(t, vm, 1), vm.last_seen));
    LK_CHECK(take_use(t, std::move(token)));
    t.scratch.has_policy_changed = true;
    const std::string self = "vm:" + name.str();
    LK_CHECK(append_audit(t, {self, "vm.join", self, "done",
                              Detail().text("token", token_id).id("vm_id", vm.id.value).json()}));
    return vm;
}

Result<std::vector<JoinToken>> live_join_tokens(Transaction& t) {
    LK_TRY(rows, query(t,
                       "SELECT " LK_TOKEN_COLUMNS " FROM join_tokens WHERE uses_left > 0 AND ends_at > $1 "
                       "ORDER BY ends_at, id",
                       t.now));
    std::vector<JoinToken> tokens;
    for (const Row& row : rows.rows) {
        if (auto stored = take_token(t, row)) tokens.push_back(std::move(stored->value));
    }
    return tokens;
}

Status remove_join_token(Transaction& t, const std::string& id, const std::string& actor) {
    LK_TRY(row, query_one(t, "DELETE FROM join_tokens WHERE id = $1 RETURNING uses_left", id));
    if (!row) return fail(Code::kNotFound, "no such join token", "see: token ls");
    return append_audit(t, {actor, "vm.token.remove", "token:" + id, "done", Detail().json()});
}

Status look_at_join_tokens(Transaction& t) {
    LK_TRY(rows, query(t, "SELECT " LK_TOKEN_COLUMNS " FROM join_tokens"));
    for (const Row& row : rows.rows) take_token(t, row);
    return {};
}

} // namespace latchkey::ledger
