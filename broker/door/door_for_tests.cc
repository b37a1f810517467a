// SPDX-License-Identifier: Apache-2.0
#include "broker/door/door_for_tests.h"

#include <cstdlib>
#include <stdexcept>

#include "broker/ledger/policy_rows.h"

namespace latchkey::door {

DoorTest::DoorTest() {
    std::string name = (std::filesystem::temp_directory_path() / "lk-door-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder");
    folder_ = name;
    open(settings());
}

DoorTest::~DoorTest() {
    door_.reset();
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
}

Door::Settings DoorTest::settings() const {
    Door::Settings settings;
    settings.listen = {"127.0.0.1:0"};
    settings.transport.swallow_grace = from_millis(200);
    return settings;
}

void DoorTest::open(const Door::Settings& settings) {
    door_.reset();
    Door::Parts parts{*ledger_, *factors_, *desk_, ledger::ledger_key(), clock_, {}, {}};
    door_ = ledger::take(Door::start(std::move(parts), settings));
}

Person DoorTest::add_person(const std::string& name, ledger::Role role,
                            const std::vector<std::string>& key_options) {
    Person person;
    person.key = make_key(folder_, name, key_options);
    person.member = add_member(name, ledger::take(keys::PublicKey::from_line(public_line(person.key))), role);
    return person;
}

void DoorTest::grant_everything(const std::vector<Person>& people) {
    ledger::take(write([&](ledger::Transaction& t) -> Status {
        LK_TRY(group, ledger::add_group(t, ledger::take(GroupName::parse("dev")), "test"));
        for (const Person& person : people) {
            LK_CHECK(ledger::join_group(t, group.id, person.member.user.id, "test"));
        }
        ledger::Rule rule;
        rule.group = group.id;
        rule.group_name = group.name;
        rule.vm_selector = "*";
        rule.logins = {ledger::take(Login::parse("deploy"))};
        LK_TRY(added, ledger::add_rule(t, rule, "test"));
        (void)added;
        return {};
    }));
}

StockSsh::Options DoorTest::as(const Person& person, const std::string& command) const {
    StockSsh::Options options;
    options.user = person.member.user.name.str();
    options.port = door_->port();
    options.key = person.key;
    options.command = command;
    return options;
}

Ended DoorTest::ssh(const StockSsh::Options& options) const {
    return StockSsh(folder_, options).wait();
}

} // namespace latchkey::door
