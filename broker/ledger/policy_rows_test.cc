// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/policy_rows.h"

#include "broker/ledger/ledger_for_tests.h"

namespace latchkey::ledger {
namespace {

class PolicyRows : public LedgerTest {
protected:
    static GroupName group_name(std::string_view text) { return take(GroupName::parse(text)); }
    Group add(std::string_view name) {
        return take(write([&](Transaction& t) { return add_group(t, group_name(name), "root"); }));
    }
    Status join(const Group& group, const Person& person) {
        return write([&](Transaction& t) { return join_group(t, group.id, person.user.id, "root"); });
    }
    static Rule sample(const Group& group) {
        Rule rule;
        rule.group = group.id;
        rule.vm_selector = "web-*";
        rule.logins = {take(Login::parse("deploy")), take(Login::parse("root"))};
        rule.ttl_seconds = 1800;
        rule.from = "10.0.0.0/8,2001:db8::/32";
        rule.command = "/usr/bin/true --flag \"x\"";
        rule.allow = {"pty", "port-forwarding"};
        rule.verify_required = true;
        rule.sudo = protocol::SudoRule::kFactor;
        rule.sudo_grace_seconds = 120;
        return rule;
    }
    Result<Rule> add(const Rule& rule) {
        return write([&](Transaction& t) { return add_rule(t, rule, "root"); });
    }
    std::vector<Rule> rules_of(const Person& person) {
        return take(read([&](Transaction& t) { return rules_for_user(t, person.user.id); }));
    }
};

TEST_F(PolicyRows, GroupsAreFoundByNameOnce) {
    const Group dev = add("dev");
    const auto found = take(read([](Transaction& t) { return find_group(t, group_name("dev")); }));
    ASSERT_TRUE(found);
    EXPECT_EQ(found->id, dev.id);
    EXPECT_FALSE(take(read([](Transaction& t) { return find_group(t, group_name("ops")); })));
    EXPECT_EQ(code_of(write([](Transaction& t) { return add_group(t, group_name("dev"), "root"); })),
              Code::kExists);
    EXPECT_EQ(take(read([](Transaction& t) { return list_groups(t); })).size(), 1u);
}

TEST_F(PolicyRows, MembersJoinAndLeave) {
    const Group dev = add("dev");
    const Person bob = add_person("bob");
    take(join(dev, bob));
    EXPECT_EQ(code_of(join(dev, bob)), Code::kExists);
    EXPECT_EQ(take(read([&](Transaction& t) { return members_of(t, dev.id); })),
              std::vector<UserName>{bob.user.name});
    ASSERT_EQ(take(read([&](Transaction& t) { return groups_of(t, bob.user.id); })).size(), 1u);
    const auto leave = [&] {
        return write([&](Transaction& t) { return leave_group(t, dev.id, bob.user.id, "root"); });
    };
    take(leave());
    EXPECT_TRUE(take(read([&](Transaction& t) { return members_of(t, dev.id); })).empty());
    EXPECT_TRUE(take(read([&](Transaction& t) { return groups_of(t, bob.user.id); })).empty());
    EXPECT_EQ(code_of(leave()), Code::kNotFound);
}

TEST_F(PolicyRows, NobodyJoinsWhatIsNotThere) {
    const Group dev = add("dev");
    EXPECT_EQ(code_of(write([&](Transaction& t) { return join_group(t, dev.id, RowId{5}, "root"); })),
              Code::kNotFound);
    const Person bob = add_person("bob");
    EXPECT_EQ(code_of(write([&](Transaction& t) { return join_group(t, RowId{5}, bob.user.id, "root"); })),
              Code::kNotFound);
}

TEST_F(PolicyRows, RulesComeBackAsTheyWereAdded) {
    const Group dev = add("dev");
    const Rule added = take(add(sample(dev)));
    const auto rules = take(read([](Transaction& t) { return list_rules(t); }));
    ASSERT_EQ(rules.size(), 1u);
    EXPECT_EQ(rules[0].id, added.id);
    EXPECT_EQ(rules[0].group_name.str(), "dev");
    EXPECT_EQ(rules[0].vm_selector, "web-*");
    EXPECT_EQ(rules[0].logins, sample(dev).logins);
    EXPECT_EQ(rules[0].ttl_seconds, 1800u);
    EXPECT_EQ(rules[0].from, sample(dev).from);
    EXPECT_EQ(rules[0].command, sample(dev).command);
    EXPECT_EQ(rules[0].allow, sample(dev).allow);
    EXPECT_TRUE(rules[0].verify_required);
    EXPECT_EQ(rules[0].sudo, protocol::SudoRule::kFactor);
    EXPECT_EQ(rules[0].sudo_grace_seconds, 120u);
    EXPECT_EQ(rules[0].created_at, clock_.now());
}

TEST_F(PolicyRows, RulesAreOfTheGroupsMembersAlone) {
    const Group dev = add("dev");
    const Group ops = add("ops");
    const Person bob = add_person("bob");
    const Person eve = add_person("eve");
    take(join(dev, bob));
    take(join(ops, eve));
    const Rule rule = take(add(sample(dev)));
    ASSERT_EQ(rules_of(bob).size(), 1u);
    EXPECT_EQ(rules_of(bob)[0].id, rule.id);
    EXPECT_TRUE(rules_of(eve).empty());
    take(write([&](Transaction& t) { return remove_rule(t, rule.id, "root"); }));
    EXPECT_TRUE(rules_of(bob).empty());
    EXPECT_EQ(code_of(write([&](Transaction& t) { return remove_rule(t, rule.id, "root"); })),
              Code::kNotFound);
}

TEST_F(PolicyRows, RulesAreListedOldestFirst) {
    const Group dev = add("dev");
    std::vector<RowId> ids;
    for (int i = 0; i < 5; ++i) {
        ids.push_back(take(add(sample(dev))).id);
        clock_.advance(from_seconds(1));
    }
    const auto rules = take(read([](Transaction& t) { return list_rules(t); }));
    ASSERT_EQ(rules.size(), ids.size());
    for (std::size_t i = 0; i < ids.size(); ++i) EXPECT_EQ(rules[i].id, ids[i]);
}

TEST_F(PolicyRows, MalformedRulesAreRefused) {
    const Group dev = add("dev");
    Rule rule = sample(dev);
    rule.logins.clear();
    EXPECT_EQ(code_of(add(rule)), Code::kUsage);
    rule = sample(dev);
    rule.vm_selector.clear();
    EXPECT_EQ(code_of(add(rule)), Code::kUsage);
    rule = sample(dev);
    rule.command = "true\nfalse";
    EXPECT_EQ(code_of(add(rule)), Code::kUsage);
    rule = sample(dev);
    rule.allow = {"pty,user-rc"};
    EXPECT_EQ(code_of(add(rule)), Code::kUsage);
    rule = sample(dev);
    rule.group = {99};
    EXPECT_EQ(code_of(add(rule)), Code::kNotFound);
}

} // namespace
} // namespace latchkey::ledger
