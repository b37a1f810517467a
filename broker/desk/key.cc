// SPDX-License-Identifier: Apache-2.0
// key ls | add | rm
#include "broker/desk/command.h"
#include "broker/desk/text.h"
#include "broker/ledger/revocations.h"
#include "broker/ledger/users.h"

namespace latchkey::desk {
namespace {

using ledger::Role;

Result<ledger::User> owner_asked(const Call& call, ledger::Transaction& t) {
    const auto name = call.arguments.one("--user");
    if (!name || *name == call.actor()) return call.user;
    LK_CHECK(call.require(Role::kAuditor, "another user's keys"));
    return find_user_named(t, *name);
}

std::string type_of(const ledger::Key& key) {
    auto parsed = keys::PublicKey::from_blob(key.blob);
    return parsed ? std::string(keys::type_name(parsed->type())) : "unknown";
}

Status ls(Call& call) {
    LK_TRY(found, call.read([&](ledger::Transaction& t) -> Result<std::vector<ledger::Key>> {
        LK_TRY(owner, owner_asked(call, t));
        return ledger::keys_of(t, owner.id);
    }));
    std::vector<Record> rows;
    for (const ledger::Key& key : found) {
        rows.push_back({{"fingerprint", key.fingerprint.str()},
                        {"type", type_of(key)},
                        {"name", text_or_null(key.name)},
                        {"added_at", key.added_at},
                        {"this_login", key.id == call.key.id}});
    }
    call.list("keys", rows, "no keys");
    return {};
}

Result<keys::PublicKey> read_key(Call& call) {
    LK_TRY(text, call.console.read_all(keys::kMaxBlobSize * 2));
    const std::size_t end = text.find_last_not_of(" \t\r\n");
    if (end == std::string::npos) {
        return fail(Code::kUsage, "no key on the input",
                    "run: " + call.ssh_line("key add") + " < ~/.ssh/id_ed25519.pub");
    }
    const std::string line = text.substr(0, end + 1);
    if (line.find('\n') != std::string::npos) {
        return fail(Code::kUsage, "over one line on the input", "give one public key, the .pub file");
    }
    return keys::PublicKey::from_line(line);
}

Status add(Call& call) {
    LK_TRY(key, read_key(call));
    LK_CHECK(key.check_strength(call.context.settings.strength));
    std::string name = call.arguments.size() > 0 ? call.arguments.at(0) : printable(key.comment());
    if (name.size() > 64) name.resize(64);
    if (name.empty()) name = "key";
    LK_CHECK(check_free_text(name, "the name", 64));
    LK_TRY(added, call.write([&](ledger::Transaction& t) {
        return ledger::add_key(t, call.user.id, key, name, call.actor());
    }));
    call.done({{"fingerprint", added.fingerprint.str()}, {"name", added.name}, {"added_at", added.added_at}},
              "added key " + added.fingerprint.str() + " (" + printable(added.name) + ")");
    return {};
}

Status rm(Call& call) {
    LK_TRY(fingerprint, Fingerprint::parse(call.arguments.at(0)));
    LK_TRY(epoch, call.write([&](ledger::Transaction& t) -> Result<Epoch> {
        LK_TRY(key, ledger::find_key(t, fingerprint));
        const bool is_own = key && key->user == call.user.id;
        if (!is_own && !call.is_at_least(Role::kAdmin)) key.reset();
        if (!key) return fail(Code::kNotFound, "no key " + fingerprint.str(), "see: key ls");
        if (is_own) {
            LK_TRY(all, ledger::keys_of(t, call.user.id));
            if (all.size() == 1) {
                return fail(Code::kRefused, "this is your only key", "add another one first: key add");
            }
        }
        // Also on the VMs: the revocation removes the key and ends what it opened.
        LK_TRY(row, ledger::revoke(t, {revocation::SelectorKind::kKey, fingerprint.str()}, "key removed",
                                   call.actor()));
        return row.revocation.epoch;
    }));
    call.done({{"fingerprint", fingerprint.str()}, {"epoch", count(epoch.value)}},
              "removed key " + fingerprint.str() + "; what it opened is revoked, see: revoke show " +
                  std::to_string(epoch.value));
    return {};
}

} // namespace

std::span<const Command> key_commands() {
    static const std::vector<Command> table = {
        {"key ls",
         "[--user U]",
         "your keys; anybody's for auditors",
         Role::kUser,
         Freshness::kAudit,
         0,
         0,
         {{"--user"}},
         ls},
        {"key add",
         "[NAME]",
         "register the public key on the input",
         Role::kUser,
         Freshness::kRecent,
         0,
         1,
         {},
         add},
        {"key rm",
         "FP",
         "remove a key of yours and revoke what it opened; anybody's for admins",
         Role::kUser,
         Freshness::kRecent,
         1,
         1,
         {},
         rm},
    };
    return table;
}

} // namespace latchkey::desk
