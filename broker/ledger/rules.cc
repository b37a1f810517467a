// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/audit.h"
#include "broker/ledger/clean_text.h"
#include "broker/ledger/detail.h"
#include "broker/ledger/policy_rows.h"
#include "broker/ledger/tables.h"

#define LK_RULE_COLUMNS                                                                                 \
    "r.id, r.version, r.group_id, r.vm_selector, r.logins, r.ttl_seconds, r.from_networks, r.command, " \
    "r.allowed, r.verify_required, r.created_at, r.sudo, r.sudo_grace_seconds, r.mac"

namespace latchkey::ledger {
namespace {

constexpr std::size_t kRuleTextLimit = 4096;

std::string joined(const std::vector<std::string>& words) {
    std::string text;
    for (const std::string& word : words) {
        if (!text.empty()) text += ',';
        text += word;
    }
    return text;
}

std::vector<std::string> split(std::string_view text) {
    std::vector<std::string> words;
    while (!text.empty()) {
        const auto comma = text.find(',');
        words.emplace_back(text.substr(0, comma));
        text = comma == std::string_view::npos ? std::string_view() : text.substr(comma + 1);
    }
    return words;
}

std::vector<std::string> texts(const std::vector<Login>& logins) {
    std::vector<std::string> words;
    words.reserve(logins.size());
    for (const Login& login : logins) words.push_back(login.str());
    return words;
}

bool is_plain(std::string_view text) {
    return clean_text(text, kRuleTextLimit) == text;
}

Status check_rule(const Rule& rule) {
    if (rule.vm_selector.empty() || !is_plain(rule.vm_selector))
        return fail(Code::kUsage, "a grant needs a VM selector", "add: --vm SELECTOR");
    if (rule.logins.empty()) return fail(Code::kUsage, "a grant needs a login", "add: --login LOGIN");
    for (const Login& login : rule.logins) {
        if (login.empty()) return fail(Code::kUsage, "a grant with an empty login");
    }
    if (!is_plain(rule.from) || !is_plain(rule.command))
        return fail(Code::kUsage, "a grant with control characters, or over 4096 characters");
    for (const std::string& word : rule.allow) {
        if (word.empty() || !is_plain(word) || word.find(',') != std::string::npos)
            return fail(Code::kUsage, "a grant with a malformed permission", "use: --allow pty,…");
    }
    return {};
}

} // namespace

template <>
struct Table<Rule> {
    static constexpr std::string_view kName = "rules";
    static std::uint64_t id(const Rule& rule) { return rule.id.value; }
    static void read(Columns& columns, std::uint64_t id, Rule& rule) {
        rule.id = {id};
        rule.group = columns.id<RowId>();
        rule.vm_selector = columns.text();
        for (const std::string& word : split(columns.text())) {
            auto login = Login::parse(word);
            if (!login) return columns.spoil();
            rule.logins.push_back(*std::move(login));
        }
        rule.ttl_seconds = columns.number32();
        rule.from = columns.text();
        rule.command = columns.text();
        rule.allow = split(columns.text());
        rule.verify_required = columns.boolean();
        rule.created_at = columns.micros();
        rule.sudo = columns.one_of(protocol::SudoRule::kLast);
        rule.sudo_grace_seconds = columns.number32();
    }
    static void encode(wire::Writer& writer, const Rule& rule) {
        writer.u64(rule.group.value);
        writer.string(rule.vm_selector);
        writer.string(joined(texts(rule.logins)));
        writer.u32(rule.ttl_seconds);
        writer.string(rule.from);
        writer.string(rule.command);
        writer.string(joined(rule.allow));
        writer.boolean(rule.verify_required);
        writer.u64(static_cast<std::uint64_t>(rule.created_at.value));
        // A rule of before there was such a thing keeps its MAC.
        if (rule.sudo == protocol::SudoRule::kUnsaid && rule.sudo_grace_seconds == 0) return;
        writer.u8(static_cast<std::uint8_t>(rule.sudo));
        writer.u32(rule.sudo_grace_seconds);
    }
};

namespace {

// Rows of "rule, group[, member]": all of them must fit and belong together.
Result<std::vector<Rule>> take_rules(Transaction& t, const plugin_host::Rows& rows,
                                     std::optional<RowId> member_is) {
    std::vector<Rule> rules;
    for (const Row& row : rows.rows) {
        Columns columns(row);
        auto rule = take_row<Rule>(t, columns);
        if (!rule) continue; // the columns after a bad one are not looked at
        const auto group = take_row<Group>(t, columns);
        if (!group || group->value.id != rule->value.group) continue;
        if (member_is) {
            const auto member = take_row<Member>(t, columns);
            if (!member || member->value.user != *member_is || member->value.group != group->value.id)
                continue;
        }
        rule->value.group_name = group->value.name;
        rules.push_back(std::move(rule->value));
    }
    return rules;
}

} // namespace

Result<Rule> add_rule(Transaction& t, Rule rule, const std::string& actor) {
    LK_CHECK(check_rule(rule));
    LK_TRY(group,
           find_row<Group>(t, "SELECT " LK_GROUP_COLUMNS " FROM user_groups g WHERE g.id = $1", rule.group));
    if (!group) return fail(Code::kNotFound, "no such group", "see: group ls");
    rule.id = t.new_id();
    rule.group_name = group->value.name;
    rule.created_at = t.now;
    LK_CHECK(execute(t,
                     "INSERT INTO rules (id, version, group_id, vm_selector, logins, ttl_seconds, "
                     "from_networks, command, allowed, verify_required, created_at, sudo, "
                     "sudo_grace_seconds, mac) "
                     "VALUES ($1, 1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
                     rule.id, rule.group, rule.vm_selector, joined(texts(rule.logins)), rule.ttl_seconds,
                     rule.from, rule.command, joined(rule.allow), rule.verify_required, rule.created_at,
                     rule.sudo, rule.sudo_grace_seconds, mac_of(t, rule, 1)));
    t.scratch.has_policy_changed = true;
    Detail detail;
    detail.text("group", rule.group_name.str())
        .text("vm", rule.vm_selector)
        .list("logins", texts(rule.logins))
        .number("ttl_seconds", rule.ttl_seconds)
        .text("from", rule.from)
        .text("command", rule.command)
        .list("allow", rule.allow)
        .number("verify_required", rule.verify_required ? 1 : 0);
    if (rule.sudo != protocol::SudoRule::kUnsaid)
        detail.text("sudo", word_of(rule.sudo)).number("sudo_grace_seconds", rule.sudo_grace_seconds);
    LK_CHECK(append_audit(
        t, {actor, "grant.add", "grant:" + std::to_string(rule.id.value), "done", detail.json()}));
    return rule;
}

Result<std::vector<Rule>> list_rules(Transaction& t) {
    LK_TRY(rows, query(t, "SELECT " LK_RULE_COLUMNS ", " LK_GROUP_COLUMNS
                          " FROM rules r JOIN user_groups g ON g.id = r.group_id "
                          "ORDER BY r.created_at, r.id"));
    return take_rules(t, rows, std::nullopt);
}

Result<std::vector<Rule>> rules_for_user(Transaction& t, RowId user) {
    LK_TRY(rows, query(t,
                       "SELECT " LK_RULE_COLUMNS ", " LK_GROUP_COLUMNS ", " LK_MEMBER_COLUMNS
                       " FROM members m JOIN user_groups g ON g.id = m.group_id "
                       "JOIN rules r ON r.group_id = g.id WHERE m.user_id = $1 ORDER BY r.created_at, r.id",
                       user));
    return take_rules(t, rows, user);
}

Result<std::uint64_t> policy_count(Transaction& t) {
    LK_TRY(row, query_one(t, "SELECT value FROM counters WHERE name = 'policy'"));
    return row ? Columns(*row).number() : 0;
}

Status remove_rule(Transaction& t, RowId rule, const std::string& actor) {
    LK_TRY(done, query(t, "DELETE FROM rules WHERE id = $1", rule));
    if (done.changed == 0) return fail(Code::kNotFound, "no such grant", "see: grant ls");
    t.scratch.has_policy_changed = true;
    t.scratch.has_taken_access = true;
    return append_audit(t, {actor, "grant.remove", "grant:" + std::to_string(rule.value), "done", "{}"});
}

Status look_at_rules(Transaction& t) {
    return look_at_all<Rule>(
        t, "SELECT " LK_RULE_COLUMNS " FROM rules r WHERE r.id > $1 ORDER BY r.id LIMIT $2");
}

} // namespace latchkey::ledger
