// SPDX-License-Identifier: Apache-2.0
// How many certificates a second the ledger makes durable, from how many threads: record_bench FOLDER
// [THREADS [SECONDS]], or instead of the folder the connection text of an empty PostgreSQL database
// ("host=…"). Beside it, in the same run, the floor: commits of one 400-byte row on the same store.

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <thread>
#include <vector>

#include "broker/ledger/certificates.h"
#include "broker/ledger/factors.h"
#include "broker/ledger/ledger.h"
#include "broker/ledger/random_word.h"
#include "broker/ledger/users.h"
#include "broker/plugin_host/loader.h"

namespace latchkey::ledger {
namespace {

using SteadyClock = std::chrono::steady_clock;

double seconds_since(SteadyClock::time_point start) {
    return std::chrono::duration<double>(SteadyClock::now() - start).count();
}

struct Subject {
    User user;
    Key key;
    Unlock unlock;
};

Result<Subject> add_subject(Ledger& ledger, int number) {
    LK_TRY(name, UserName::parse("user" + std::to_string(number)));
    LK_TRY(pair, keys::PrivateKey::generate(keys::KeyType::kEd25519));
    return ledger.write([&](Transaction& t) -> Result<Subject> {
        LK_TRY(user, add_user(t, name, "", Role::kUser, "bench"));
        LK_TRY(key, add_key(t, user.id, pair.public_key(), "", "bench"));
        LK_TRY(unlock, open_unlock(t, user.id, key.id, t.now + from_seconds(3600), t.now, "bench"));
        return Subject{user, key, unlock};
    });
}

// Made ahead, so that the CA's signature is not in the figure.
Result<std::vector<cert::Certificate>> make_certificates(const Subject& subject, const keys::PrivateKey& ca,
                                                         Micros now, std::size_t count) {
    std::vector<cert::Certificate> made;
    cert::Content content;
    LK_TRY(key, keys::PublicKey::from_blob(subject.key.blob));
    content.subject = key;
    content.principals = {"deploy", "root"};
    content.extensions = {{"permit-pty", ""}};
    content.valid_after = static_cast<std::uint64_t>(now.seconds() - 60);
    content.valid_before = static_cast<std::uint64_t>(now.seconds() + 3600);
    for (std::size_t i = 0; i < count; ++i) {
        content.serial = {(random_number() >> 1) | 1};
        content.key_id = subject.user.name.str() + "/" + std::to_string(content.serial.value);
        LK_TRY(bytes, cert::to_be_signed(content, Bytes(32), ca.public_key()));
        LK_TRY(signature, ca.sign(bytes));
        LK_TRY(certificate, cert::Certificate::from_blob(cert::with_signature(bytes, signature)));
        made.push_back(certificate);
    }
    return made;
}

Result<double> commits_per_second(plugin_host::Store& store, double seconds) {
    LK_TRY(connection, store.connect());
    const bool is_sqlite = store.dialect() == "sqlite";
    LK_CHECK(connection->run_script(is_sqlite ? "CREATE TABLE floor (id INTEGER PRIMARY KEY, body BLOB)"
                                              : "CREATE TABLE floor (id SERIAL PRIMARY KEY, body BYTEA)"));
    const plugin_host::Value body[] = {Bytes(400, 1)};
    const auto start = SteadyClock::now();
    std::size_t count = 0;
    while (seconds_since(start) < seconds) {
        LK_CHECK(connection->begin(true));
        LK_TRY(done, connection->run("INSERT INTO floor (body) VALUES ($1)", body));
        LK_CHECK(connection->commit());
        ++count;
    }
    return static_cast<double>(count) / seconds_since(start);
}

Status run(const std::string& where, unsigned threads, double seconds) {
    plugin_host::Loader loader(LK_PLUGIN_DIR);
    const bool is_folder = where.find('=') == std::string::npos;
    const auto file = std::filesystem::path(where) / ("record-bench-" + random_word(8) + ".db");
    LK_TRY(store, is_folder ? loader.store("sqlite", {{"path", file.string()}})
                            : loader.store("postgres", {{"url", where}}));
    LK_CHECK(Ledger::migrate(*store));
    const SystemClock clock;
    LK_TRY(ledger, Ledger::open(*store, {.data_key = SecretBytes::adopt(Bytes(32, 1)), .clock = &clock}));
    LK_TRY(floor, commits_per_second(*store, seconds / 2));
    LK_TRY(ca, keys::PrivateKey::generate(keys::KeyType::kEd25519));
    LK_TRY(ledger_key, keys::PrivateKey::generate(keys::KeyType::kEd25519));
    std::vector<Subject> subjects;
    std::vector<std::vector<cert::Certificate>> certificates;
    const auto each = static_cast<std::size_t>(30'000 * seconds) / threads;
    for (unsigned i = 0; i < threads; ++i) {
        LK_TRY(subject, add_subject(*ledger, static_cast<int>(i)));
        LK_TRY(made, make_certificates(subject, ca, clock.now(), each));
        subjects.push_back(subject);
        certificates.push_back(std::move(made));
    }
    std::atomic<std::size_t> done{0};
    std::atomic<std::size_t> failed{0};
    const auto start = SteadyClock::now();
    const std::clock_t cpu_start = std::clock();
    std::vector<std::thread> workers;
    for (unsigned i = 0; i < threads; ++i) {
        workers.emplace_back([&, i] {
            const Subject& subject = subjects[i];
            for (const cert::Certificate& certificate : certificates[i]) {
                if (seconds_since(start) >= seconds) return;
                const auto row = ledger->write([&](Transaction& t) {
                    return record_certificate(t, certificate, subject.user.id, subject.key.id,
                                              subject.unlock.id, ledger_key, "bench");
                });
                (row ? done : failed).fetch_add(1);
            }
        });
    }
    for (std::thread& worker : workers) worker.join();
    const double elapsed = seconds_since(start);
    const double cpu = static_cast<double>(std::clock() - cpu_start) / CLOCKS_PER_SEC;
    const double rate = static_cast<double>(done.load()) / elapsed;
    std::printf(
        "threads %u  certificates %.0f/s  commit floor %.0f/s  ratio %.2f  cpu %.0f us each  failed %zu\n",
        threads, rate, floor, rate / floor, cpu * 1e6 / static_cast<double>(done.load()), failed.load());
    ledger.reset();
    store.reset();
    if (!is_folder) return {};
    for (const char* suffix : {"", "-wal", "-shm"}) std::filesystem::remove(file.string() + suffix);
    return {};
}

} // namespace
} // namespace latchkey::ledger

int main(int argc, char** argv) {
    if (argc < 2) {
        std::fprintf(stderr, "usage: record_bench FOLDER [THREADS [SECONDS]]\n");
        return 2;
    }
    const auto threads = argc > 2 ? static_cast<unsigned>(std::strtoul(argv[2], nullptr, 10)) : 16u;
    const double seconds = argc > 3 ? std::strtod(argv[3], nullptr) : 4;
    const auto done = latchkey::ledger::run(argv[1], threads == 0 ? 1 : threads, seconds);
    if (done) return 0;
    std::fprintf(stderr, "%s\n", done.error().line().c_str());
    return 1;
}
