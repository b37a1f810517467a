// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/ledger_for_tests.h"

#include <cstdlib>
#include <mutex>

#include "broker/ledger/random_word.h"

namespace latchkey::ledger {

SecretBytes data_key(std::uint8_t fill) {
    return SecretBytes::adopt(Bytes(32, fill));
}

UserName user_name(std::string_view text) {
    return take(UserName::parse(text));
}

keys::PublicKey new_public_key() {
    return take(keys::PrivateKey::generate(keys::KeyType::kEd25519)).public_key();
}

const keys::PrivateKey& ca_key() {
    static const auto key = take(keys::PrivateKey::generate(keys::KeyType::kEd25519));
    return key;
}

const keys::PrivateKey& ledger_key() {
    static const auto key = take(keys::PrivateKey::generate(keys::KeyType::kEd25519));
    return key;
}

cert::Certificate make_certificate(const User& user, const Key& key, Micros now, Micros ttl,
                                   std::uint64_t serial) {
    cert::Content content;
    content.subject = take(keys::PublicKey::from_blob(key.blob));
    content.serial = {serial};
    content.key_id = user.name.str() + "/" + std::to_string(serial);
    content.principals = {"deploy", user.name.str()};
    content.valid_after = static_cast<std::uint64_t>(now.seconds() - 60);
    content.valid_before = static_cast<std::uint64_t>((now + ttl).seconds());
    content.extensions = {{"permit-pty", ""}};
    const Bytes nonce(32, 5);
    const Bytes to_sign = take(cert::to_be_signed(content, nonce, ca_key().public_key()));
    const Bytes signature = take(ca_key().sign(to_sign));
    return take(cert::Certificate::from_blob(cert::with_signature(to_sign, signature)));
}

namespace {

// Sessions of PostgreSQL are processes with caches of their own: those of one case serve the next.
class KeptStore : public plugin_host::Store {
public:
    explicit KeptStore(std::unique_ptr<plugin_host::Store> real) : real_(std::move(real)) {}

    Result<std::unique_ptr<plugin_host::Connection>> connect() override {
        while (auto kept = take_kept()) {
            if (kept->run("UNLISTEN *", {})) return lend(std::move(kept)); // else it was ended
        }
        LK_TRY(made, real_->connect());
        return lend(std::move(made));
    }
    std::string_view dialect() const override { return real_->dialect(); }
    bool listens() const override { return real_->listens(); }

private:
    using Owned = std::unique_ptr<plugin_host::Connection>;

    class Lent : public plugin_host::Connection {
    public:
        Lent(KeptStore& store, Owned real) : store_(store), real_(std::move(real)) {}
        ~Lent() override {
            if (real_->rollback()) store_.keep(std::move(real_));
        }
        Result<plugin_host::Rows> run(std::string_view sql, std::span<const plugin_host::Value> v) override {
            return real_->run(sql, v);
        }
        Status post(std::string_view sql, std::span<const plugin_host::Value> v) override {
            return real_->post(sql, v);
        }
        Status run_script(std::string_view sql) override { return real_->run_script(sql); }
        Status begin(bool for_writing) override { return real_->begin(for_writing); }
        Status commit() override { return real_->commit(); }
        Status rollback() override { return real_->rollback(); }
        Status savepoint() override { return real_->savepoint(); }
        Status release_savepoint() override { return real_->release_savepoint(); }
        Status rollback_to_savepoint() override { return real_->rollback_to_savepoint(); }
        Status listen(std::string_view channel) override { return real_->listen(channel); }
        Status notify(std::string_view channel, std::string_view payload) override {
            return real_->notify(channel, payload);
        }
        Result<std::vector<plugin_host::Notification>> wait(std::chrono::milliseconds timeout) override {
            return real_->wait(timeout);
        }

    private:
        KeptStore& store_;
        Owned real_;
    };

    Owned lend(Owned real) { return std::make_unique<Lent>(*this, std::move(real)); }
    Owned take_kept() {
        const std::lock_guard lock(mutex_);
        if (kept_.empty()) return nullptr;
        Owned one = std::move(kept_.back());
        kept_.pop_back();
        return one;
    }
    void keep(Owned real) {
        const std::lock_guard lock(mutex_);
        kept_.push_back(std::move(real));
    }

    std::unique_ptr<plugin_host::Store> real_;
    std::mutex mutex_;
    std::vector<Owned> kept_;
};

// The one of this process, migrated.
KeptStore& kept_store() {
    static const auto store = [] {
        auto made = std::make_unique<KeptStore>(
            take(plugin_host::Loader(LK_PLUGIN_DIR)
                     .store("postgres", {{"url", std::getenv("LATCHKEY_TEST_POSTGRES")}})));
        take(Ledger::migrate(*made));
        return made;
    }();
    return *store;
}

class SharedStore : public plugin_host::Store {
public:
    Result<std::unique_ptr<plugin_host::Connection>> connect() override { return kept_store().connect(); }
    std::string_view dialect() const override { return kept_store().dialect(); }
    bool listens() const override { return kept_store().listens(); }
};

// As the migrations left them; past the references between tables, as the superuser may.
void empty_tables(plugin_host::Connection& connection) {
    static const std::string script = [&] {
        const auto tables =
            take(connection.run("SELECT tablename::text FROM pg_tables "
                                "WHERE schemaname = 'public' AND tablename <> 'schema_version'",
                                {}));
        std::string all = "SET LOCAL session_replication_role = replica;";
        for (const auto& row : tables.rows) all += "DELETE FROM " + std::get<std::string>(row.front()) + ";";
        return all + "INSERT INTO counters (name, value) VALUES ('epoch', 0), ('sequence', 0)";
    }();
    take(connection.begin(true));
    take(connection.run_script(script));
    take(connection.commit());
}

} // namespace

bool is_on_postgres() {
    return std::getenv("LATCHKEY_TEST_POSTGRES") != nullptr;
}

std::unique_ptr<plugin_host::Store> open_test_store(const std::string& path) {
    plugin_host::Loader loader(LK_PLUGIN_DIR);
    if (!is_on_postgres()) {
        auto store = take(loader.store("sqlite", {{"path", path}}));
        take(Ledger::migrate(*store));
        return store;
    }
    empty_tables(*take(kept_store().connect()));
    return std::make_unique<SharedStore>();
}

LedgerTest::LedgerTest(const std::string& path) : store_(open_test_store(path)) {
    reopen();
}

void LedgerTest::reopen() {
    ledger_.reset();
    ledger_ =
        take(Ledger::open(*store_, {.data_key = data_key(),
                                    .clock = &clock_,
                                    .readers = is_on_postgres() ? 2u : 4u, // a connection there is a process
                                    .hears_others = false}));
}

Person LedgerTest::add_person(std::string_view name) {
    const auto key = new_public_key();
    return take(write([&](Transaction& t) -> Result<Person> {
        Person person;
        LK_TRY(user, add_user(t, user_name(name), std::string(name) + "@example.org", Role::kUser, "admin"));
        LK_TRY(added, add_key(t, user.id, key, "laptop", "admin"));
        LK_TRY(unlock,
               open_unlock(t, user.id, added.id, t.now + from_seconds(12 * 3600), t.now, user.name.str()));
        return Person{user, added, unlock};
    }));
}

Result<CertificateRow> LedgerTest::try_issue(const Person& person, Micros ttl) {
    const std::uint64_t serial = (random_number() >> 1) | 1;
    const auto certificate = make_certificate(person.user, person.key, clock_.now(), ttl, serial);
    return write([&](Transaction& t) {
        return record_certificate(t, certificate, person.user.id, person.key.id, person.unlock.id,
                                  ledger_key(), person.user.name.str());
    });
}

CertificateRow LedgerTest::issue(const Person& person, Micros ttl) {
    return take(try_issue(person, ttl));
}

std::optional<CertificateRow> LedgerTest::newest_of(const Person& person) {
    auto holding = take(read([&](Transaction& t) { return find_holding(t, person.key.fingerprint); }));
    return holding ? std::move(holding->newest) : std::nullopt;
}

plugin_host::Rows LedgerTest::by_hand(std::string_view sql, std::vector<plugin_host::Value> parameters) {
    const auto connection = take(store_->connect());
    return take(connection->run(sql, parameters));
}

} // namespace latchkey::ledger
