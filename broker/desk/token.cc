// SPDX-License-Identifier: Apache-2.0
// token ls | rm: the join tokens that `vm token` made and that still let VMs in.
#include "broker/desk/command.h"
#include "broker/desk/text.h"
#include "broker/ledger/vms.h"

namespace latchkey::desk {
namespace {

using ledger::Role;

Status ls(Call& call) {
    LK_TRY(tokens, call.read([](ledger::Transaction& t) { return ledger::live_join_tokens(t); }));
    std::vector<Record> rows;
    for (const ledger::JoinToken& token : tokens) {
        std::vector<std::string> labels;
        for (const protocol::KeyValue& label : token.labels) labels.push_back(label.name + "=" + label.value);
        rows.push_back({{"id", token.id},
                        {"uses_left", count(token.uses_left)},
                        {"ends_at", token.ends_at},
                        {"name", token.name_pattern},
                        {"labels", labels}});
    }
    call.list("tokens", rows, "no join tokens");
    return {};
}

Status rm(Call& call) {
    const std::string& id = call.arguments.at(0);
    LK_CHECK(
        call.write([&](ledger::Transaction& t) { return ledger::remove_join_token(t, id, call.actor()); }));
    call.done({{"id", id}}, "removed join token " + id + "; VMs that joined by it stay: vm rm V");
    return {};
}

} // namespace

std::span<const Command> token_commands() {
    static const std::vector<Command> table = {
        {"token ls",
         "",
         "the join tokens that are good still; make one with: vm token",
         Role::kAuditor,
         Freshness::kUnlock,
         0,
         0,
         {},
         ls},
        {"token rm", "ID", "withdraw a join token", Role::kAdmin, Freshness::kRecent, 1, 1, {}, rm},
    };
    return table;
}

} // namespace latchkey::desk
