// SPDX-License-Identifier: Apache-2.0
#include "broker/issue/brokers_for_tests.h"

#include <stdlib.h>

#include "broker/ledger/vms.h"

namespace latchkey::issue {

using ledger::take;
using ledger::Transaction;

namespace {

// What is synced there costs nothing, where there is such a folder.
std::filesystem::path new_folder() {
    const std::filesystem::path memory = "/dev/shm";
    const auto parent =
        std::filesystem::is_directory(memory) ? memory : std::filesystem::temp_directory_path();
    std::string name = (parent / "latchkey-brokers-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("cannot make " + name);
    return name;
}

} // namespace

BrokersTest::BrokersTest() : folder_(new_folder()) {
    const auto emptied = ledger::open_test_store((folder_ / "ledger.db").string());
    for (TestBroker& broker : brokers_) start(broker);
}

BrokersTest::~BrokersTest() {
    for (TestBroker& broker : brokers_) stop(broker);
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
}

void BrokersTest::start(TestBroker& broker) {
    plugin_host::Loader loader(LK_PLUGIN_DIR);
    broker.store = ledger::is_on_postgres()
                       ? take(loader.store("postgres", {{"url", ::getenv("LATCHKEY_TEST_POSTGRES")}}))
                       : take(loader.store("sqlite", {{"path", (folder_ / "ledger.db").string()}}));
    broker.ledger = take(ledger::Ledger::open(
        *broker.store, {.data_key = ledger::data_key(), .clock = &clock_, .readers = 1}));
    broker.issuer =
        std::make_unique<Issuer>(Issuer::Parts{*broker.ledger, broker.signer, ledger::ledger_key(), clock_},
                                 Settings{.turn = from_seconds(30)});
}

void BrokersTest::stop(TestBroker& broker) {
    broker.issuer.reset();
    broker.ledger.reset();
    broker.store.reset();
}

void BrokersTest::restart(std::size_t which) {
    stop(brokers_[which]);
    start(brokers_[which]);
}

void BrokersTest::leave_half_done(std::size_t which) {
    const auto connection = take(brokers_[which].store->connect());
    take(connection->begin(true));
    take(connection->run("UPDATE counters SET value = value + 1", {}));
    take(connection->run("DELETE FROM unlocks", {}));
}

ledger::Vm BrokersTest::add_vm(std::string_view name) {
    return take(brokers_[0].ledger->write([&](Transaction& t) -> Result<ledger::Vm> {
        LK_TRY(token, ledger::add_join_token(t, 1, t.now + from_seconds(60), "*", {}, "admin"));
        LK_TRY(vm_name, VmName::parse(name));
        return ledger::join_vm(t, token.id, token.secret.view(), vm_name,
                               ledger::new_public_key().raw_ed25519(), {});
    }));
}

std::size_t BrokersTest::count(const std::string& table) {
    const auto connection = take(brokers_[0].store->connect());
    const auto rows = take(connection->run("SELECT COUNT(*) FROM " + table, {}));
    return static_cast<std::size_t>(std::get<std::int64_t>(rows.rows.at(0).at(0)));
}

} // namespace latchkey::issue
