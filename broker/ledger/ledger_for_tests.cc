// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/ledger_for_tests.h"

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

LedgerTest::LedgerTest(const std::string& path) {
    plugin_host::Loader loader(LK_PLUGIN_DIR);
    store_ = take(loader.store("sqlite", {{"path", path}}));
    take(Ledger::migrate(*store_));
    reopen();
}

void LedgerTest::reopen() {
    ledger_.reset();
    ledger_ = take(Ledger::open(*store_, {.data_key = data_key(), .clock = &clock_}));
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

plugin_host::Rows LedgerTest::by_hand(std::string_view sql, std::vector<plugin_host::Value> parameters) {
    const auto connection = take(store_->connect());
    return take(connection->run(sql, parameters));
}

} // namespace latchkey::ledger
