// SPDX-License-Identifier: Apache-2.0
#include "broker/policy/policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "broker/policy/selector.h"

namespace latchkey::policy {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

ledger::Vm vm(const std::string& name, std::vector<protocol::KeyValue> labels = {}) {
    ledger::Vm out;
    out.id = {1};
    out.name = *VmName::parse(name);
    out.labels = std::move(labels);
    return out;
}

ledger::User user(ledger::UserState state = ledger::UserState::kActive) {
    ledger::User out;
    out.name = *UserName::parse("bob");
    out.state = state;
    return out;
}

Login login(const std::string& name) {
    return *Login::parse(name);
}

ledger::Rule rule(const std::string& selector, const std::vector<std::string>& logins) {
    static std::uint64_t next_id = 1;
    ledger::Rule out;
    out.id = {next_id++};
    out.group_name = *GroupName::parse("dev");
    out.vm_selector = selector;
    for (const std::string& name : logins) out.logins.push_back(login(name));
    return out;
}

struct SelectorCase {
    std::string selector;
    bool matches;
};

class Selectors : public ::testing::TestWithParam<SelectorCase> {};

TEST_P(Selectors, MatchAsWritten) {
    const auto matched = vm_matches(GetParam().selector, vm("web-7", {{"env", "prod"}, {"role", "front"}}));
    ASSERT_TRUE(matched) << matched.error().line();
    EXPECT_EQ(*matched, GetParam().matches) << GetParam().selector;
}

INSTANTIATE_TEST_SUITE_P(
    Table, Selectors,
    ::testing::Values(SelectorCase{"*", true}, SelectorCase{"web-*", true}, SelectorCase{"web-7", true},
                      SelectorCase{"web-?", true}, SelectorCase{"*-7", true}, SelectorCase{"w*-*7", true},
                      SelectorCase{"web-", false}, SelectorCase{"web-??", false}, SelectorCase{"db-*", false},
                      SelectorCase{"Web-*", false}, SelectorCase{"env=prod", true},
                      SelectorCase{"env=test", false}, SelectorCase{"env=prod,role=front", true},
                      SelectorCase{"env=prod,role=back", false}, SelectorCase{"web-*,env=prod", true},
                      SelectorCase{"db-*,env=prod", false}, SelectorCase{"zone=eu", false},
                      SelectorCase{"env=pro", false}));

ledger::Rule sudo_rule(protocol::SudoRule sudo, std::uint32_t grace_seconds = 0) {
    ledger::Rule out = rule("*", {"deploy"});
    out.sudo = sudo;
    out.sudo_grace_seconds = grace_seconds;
    return out;
}

TEST(Sudo, IsAsTheStrictestRuleSays) {
    using protocol::SudoRule;
    const auto unsaid = sudo_rule(SudoRule::kUnsaid);
    const auto free = sudo_rule(SudoRule::kFree);
    const auto factor = sudo_rule(SudoRule::kFactor, 300);
    const auto none = sudo_rule(SudoRule::kDenied);
    EXPECT_EQ(sudo_policy({unsaid}).rule, SudoRule::kUnsaid);
    EXPECT_EQ(sudo_policy({free, unsaid}).rule, SudoRule::kFree);
    EXPECT_EQ(sudo_policy({unsaid, factor, free}).rule, SudoRule::kFactor);
    EXPECT_EQ(sudo_policy({factor, none, free}).rule, SudoRule::kDenied);
}

TEST(Sudo, HasTheShortestGraceOfTheRulesThatAskForACode) {
    using protocol::SudoRule;
    const auto long_one = sudo_rule(SudoRule::kFactor, 600);
    const auto short_one = sudo_rule(SudoRule::kFactor, 60);
    EXPECT_EQ(sudo_policy({long_one, sudo_rule(SudoRule::kFree)}).grace, from_seconds(600));
    EXPECT_EQ(sudo_policy({long_one, short_one}).grace, from_seconds(60));
    EXPECT_EQ(sudo_policy({sudo_rule(SudoRule::kFactor, 0)}).grace, Micros{});
    EXPECT_EQ(sudo_policy({sudo_rule(SudoRule::kFree)}).grace, Micros{});
}

TEST(Sudo, TakesAGraceOfAtMostFifteenMinutesAndWithACodeAlone) {
    using protocol::SudoRule;
    EXPECT_TRUE(validate_rule(sudo_rule(SudoRule::kFactor, 900)));
    EXPECT_FALSE(validate_rule(sudo_rule(SudoRule::kFactor, 901)));
    EXPECT_FALSE(validate_rule(sudo_rule(SudoRule::kFree, 60)));
    EXPECT_FALSE(validate_rule(sudo_rule(SudoRule::kUnsaid, 60)));
}

TEST(Selector, RefusesWhatSelectsNothing) {
    for (const std::string text :
         {"", ",", "web-*,", "env=", "=prod", "web 7", "env=a=b", "web-[0-9]", "env=prod;x", "\xc3\xa4"}) {
        EXPECT_FALSE(check_selector(text)) << text;
    }
    EXPECT_FALSE(check_selector(std::string(513, 'a')));
    EXPECT_TRUE(check_selector(std::string(512, 'a')));
}

TEST(Selector, TakesLinearTimeForManyStars) {
    std::string pattern;
    for (int i = 0; i < 200; ++i) pattern += "a*";
    EXPECT_FALSE(matches_pattern(pattern + "b", std::string(64, 'a')));
}

TEST(Decision, AllowsWhatARuleGrants) {
    const auto decision = decide(user(), {rule("web-*", {"deploy", "root"})}, login("deploy"), vm("web-7"));
    EXPECT_TRUE(decision.is_allowed());
    EXPECT_EQ(decision.rules.size(), 1u);
    EXPECT_THAT(decision.reason, HasSubstr("allowed by rule"));
}

TEST(Decision, DeniesALoginThatNoRuleNames) {
    const auto decision = decide(user(), {rule("web-*", {"deploy"})}, login("root"), vm("web-7"));
    EXPECT_FALSE(decision.is_allowed());
    EXPECT_EQ(decision.reason, "no rule gives bob the login root on VM web-7");
}

TEST(Decision, DeniesAVmThatNoRuleSelects) {
    const auto decision = decide(user(), {rule("web-*", {"deploy"})}, login("deploy"), vm("db-1"));
    EXPECT_FALSE(decision.is_allowed());
    EXPECT_EQ(decision.reason, "no rule of bob selects VM db-1");
}

TEST(Decision, DeniesWithoutRules) {
    EXPECT_EQ(decide(user(), {}, login("deploy"), vm("web-7")).reason, "no group of bob has a rule");
}

TEST(Decision, DeniesALockedOrRemovedAccount) {
    ledger::User locked = user(ledger::UserState::kLocked);
    locked.lock_reason = "laptop stolen";
    const std::vector rules = {rule("*", {"deploy"})};
    EXPECT_EQ(decide(locked, rules, login("deploy"), vm("web-7")).reason,
              "account bob is locked: laptop stolen");
    EXPECT_FALSE(decide(user(ledger::UserState::kRemoved), rules, login("deploy"), vm("web-7")).is_allowed());
}

TEST(Decision, DeniesARemovedVm) {
    ledger::Vm gone = vm("web-7");
    gone.state = ledger::VmState::kRemoved;
    EXPECT_FALSE(decide(user(), {rule("*", {"deploy"})}, login("deploy"), gone).is_allowed());
}

TEST(Decision, TakesAStoredSelectorThatDoesNotParseForNothing) {
    EXPECT_FALSE(decide(user(), {rule("web-*,", {"deploy"})}, login("deploy"), vm("web-7")).is_allowed());
}

TEST(GrantLines, StandMostPermissiveFirst) {
    ledger::Rule forced = rule("*", {"deploy"});
    forced.command = "uptime";
    ledger::Rule from_office = rule("*", {"deploy"});
    from_office.from = "10.0.0.0/8";
    ledger::Rule plain = rule("*", {"deploy"});
    ledger::Rule with_pty = rule("*", {"deploy"});
    with_pty.allow = {"pty"};
    const auto decision =
        decide(user(), {forced, from_office, plain, with_pty}, login("deploy"), vm("web-7"));
    const auto lines = grant_lines(decision.rules);
    ASSERT_EQ(lines.size(), 4u);
    EXPECT_EQ(lines[0].rule, with_pty.id);
    EXPECT_EQ(lines[1].rule, plain.id);
    EXPECT_EQ(lines[2].rule, from_office.id);
    EXPECT_EQ(lines[3].rule, forced.id);
}

TEST(GrantLines, AreSaidOnce) {
    EXPECT_EQ(grant_lines({rule("*", {"a"}), rule("web-*", {"b"})}).size(), 1u);
}

constexpr Micros kDay = from_seconds(86400);

TEST(Plan, HoldsTheUnionOfWhatRulesGrant) {
    ledger::Rule first = rule("*", {"deploy", "app"});
    first.allow = {"pty"};
    first.ttl_seconds = 600;
    ledger::Rule second = rule("db-*", {"root", "app"});
    second.allow = {"port-forwarding", "pty"};
    second.ttl_seconds = 1800;
    const auto plan = plan_certificate({first, second}, kDay, kDay);
    ASSERT_TRUE(plan);
    EXPECT_THAT(plan->principals, ElementsAre("app", "deploy", "root"));
    EXPECT_THAT(plan->extensions,
                ElementsAre(cert::Option{"permit-port-forwarding", ""}, cert::Option{"permit-pty", ""}));
    EXPECT_THAT(plan->critical_options, IsEmpty());
    EXPECT_EQ(plan->ttl, from_seconds(1800));
}

TEST(Plan, LastsNoLongerThanTheUnlockNorTheLimit) {
    const std::vector rules = {rule("*", {"deploy"})};
    EXPECT_EQ(plan_certificate(rules, from_seconds(90), kDay)->ttl, from_seconds(90));
    EXPECT_EQ(plan_certificate(rules, kDay, from_seconds(120))->ttl, from_seconds(120));
    EXPECT_EQ(plan_certificate(rules, Micros{0}, kDay).error().code, Code::kExpired);
}

TEST(Plan, RestrictsOnlyWhereAllRulesDo) {
    ledger::Rule a = rule("*", {"deploy"});
    a.from = "10.0.0.0/8";
    a.command = "uptime";
    a.verify_required = true;
    ledger::Rule b = rule("*", {"deploy"});
    b.from = "10.0.0.0/8,192.0.2.0/24";
    b.command = "uptime";
    b.verify_required = true;
    EXPECT_THAT(plan_certificate({a, b}, kDay, kDay)->critical_options,
                ElementsAre(cert::Option{"force-command", "uptime"},
                            cert::Option{"source-address", "10.0.0.0/8,192.0.2.0/24"},
                            cert::Option{"verify-required", ""}));
    b.command = "df";
    b.verify_required = false;
    EXPECT_THAT(plan_certificate({a, b}, kDay, kDay)->critical_options,
                ElementsAre(cert::Option{"source-address", "10.0.0.0/8,192.0.2.0/24"}));
    b.from.clear();
    EXPECT_THAT(plan_certificate({a, b}, kDay, kDay)->critical_options, IsEmpty());
}

TEST(Plan, RefusesNoRuleAndTooManyLogins) {
    EXPECT_EQ(plan_certificate({}, kDay, kDay).error().code, Code::kRefused);
    std::vector<ledger::Rule> rules;
    for (int i = 0; i < 256; ++i) rules.push_back(rule("*", {"user" + std::to_string(i)}));
    EXPECT_EQ(plan_certificate(rules, kDay, kDay)->principals.size(), 256u);
    rules.push_back(rule("*", {"one-more"}));
    const auto plan = plan_certificate(rules, kDay, kDay);
    ASSERT_FALSE(plan);
    EXPECT_THAT(plan.error().message, HasSubstr("257 logins"));
}

TEST(Rule, IsPutInItsOneForm) {
    ledger::Rule given = rule("web-*", {"root", "deploy", "root"});
    given.allow = {"pty", "agent-forwarding", "pty"};
    given.from = "192.0.2.7, 10.0.0.0/8,2001:DB8:0::/32";
    given.command = "/usr/bin/backup --to 'the store'";
    const auto checked = validate_rule(given);
    ASSERT_TRUE(checked) << checked.error().line();
    EXPECT_THAT(checked->logins, ElementsAre(login("deploy"), login("root")));
    EXPECT_THAT(checked->allow, ElementsAre("agent-forwarding", "pty"));
    EXPECT_EQ(checked->from, "10.0.0.0/8,192.0.2.7,2001:db8::/32");
}

struct BadRule {
    const char* what;
    void (*spoil)(ledger::Rule&);
};

class BadRules : public ::testing::TestWithParam<BadRule> {};

TEST_P(BadRules, AreRefused) {
    ledger::Rule given = rule("web-*", {"deploy"});
    ASSERT_TRUE(validate_rule(given));
    GetParam().spoil(given);
    const auto checked = validate_rule(given);
    ASSERT_FALSE(checked) << GetParam().what;
    EXPECT_FALSE(checked.error().next.empty()) << GetParam().what;
}

INSTANTIATE_TEST_SUITE_P(
    Table, BadRules,
    ::testing::Values(BadRule{"selector", [](ledger::Rule& r) { r.vm_selector = "web 1"; }},
                      BadRule{"no login", [](ledger::Rule& r) { r.logins.clear(); }},
                      BadRule{"empty login", [](ledger::Rule& r) { r.logins.emplace_back(); }},
                      BadRule{"ttl below a minute", [](ledger::Rule& r) { r.ttl_seconds = 59; }},
                      BadRule{"ttl over a day", [](ledger::Rule& r) { r.ttl_seconds = 86401; }},
                      BadRule{"unknown word", [](ledger::Rule& r) { r.allow = {"x11"}; }},
                      BadRule{"no address", [](ledger::Rule& r) { r.from = "office"; }},
                      BadRule{"host name", [](ledger::Rule& r) { r.from = "*.example.org"; }},
                      BadRule{"mask too long", [](ledger::Rule& r) { r.from = "10.0.0.0/33"; }},
                      BadRule{"no mask after the slash", [](ledger::Rule& r) { r.from = "10.0.0.0/"; }},
                      BadRule{"negated", [](ledger::Rule& r) { r.from = "!10.0.0.0/8"; }},
                      BadRule{"bits behind the mask", [](ledger::Rule& r) { r.from = "10.0.0.1/8"; }},
                      BadRule{"empty part", [](ledger::Rule& r) { r.from = "10.0.0.0/8,"; }},
                      BadRule{"mapped IPv4", [](ledger::Rule& r) { r.from = "::ffff:10.0.0.1"; }},
                      BadRule{"quote in command", [](ledger::Rule& r) { r.command = "echo \"hi\""; }},
                      BadRule{"backslash in command", [](ledger::Rule& r) { r.command = "echo hi\\"; }},
                      BadRule{"newline in command", [](ledger::Rule& r) { r.command = "echo hi\npermit"; }},
                      BadRule{"blank at the edge", [](ledger::Rule& r) { r.command = " uptime"; }},
                      BadRule{"endless command",
                              [](ledger::Rule& r) { r.command = std::string(1025, 'a'); }}));

TEST(ManagedLogins, AreThoseOfRulesThatSelectTheVm) {
    const std::vector rules = {rule("web-*", {"deploy", "root"}), rule("db-*", {"postgres"}),
                               rule("env=prod", {"root", "app"})};
    EXPECT_THAT(managed_logins(rules, vm("web-7", {{"env", "prod"}})),
                ElementsAre(login("app"), login("deploy"), login("root")));
    EXPECT_THAT(managed_logins(rules, vm("cache-1")), IsEmpty());
}

} // namespace
} // namespace latchkey::policy
