// SPDX-License-Identifier: Apache-2.0
#pragma once
// A door on loopback in front of a real desk and ledger, with people whose keys ssh-keygen made.

#include <filesystem>
#include <string>

#include "broker/desk/desk_for_tests.h"
#include "broker/door/door.h"
#include "broker/door/stock_ssh.h"

namespace latchkey::door {

struct Person {
    desk::Member member;
    std::filesystem::path key;
};

class DoorTest : public desk::DeskTest {
protected:
    DoorTest();
    ~DoorTest() override;

    Door::Settings settings() const; // port 0 on loopback
    void open(const Door::Settings& settings);
    Person add_person(const std::string& name, ledger::Role role = ledger::Role::kUser,
                      const std::vector<std::string>& key_options = {"-t", "ed25519"});
    // All of them may log in as deploy everywhere.
    void grant_everything(const std::vector<Person>& people);
    StockSsh::Options as(const Person& person, const std::string& command) const;
    Ended ssh(const StockSsh::Options& options) const;

    std::filesystem::path folder_;
    std::unique_ptr<Door> door_;
};

} // namespace latchkey::door
