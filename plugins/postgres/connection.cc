// SPDX-License-Identifier: Apache-2.0
#include "plugins/postgres/connection.h"

#include <utility>

#include "plugins/postgres/connect.h"

namespace latchkey::postgres {
namespace {

constexpr auto kBeyondTheServers = std::chrono::seconds(2);
constexpr auto kScriptPatience = std::chrono::hours(1); // a migration of large tables
constexpr std::size_t kMostPosted = 256 * 1024;         // bytes; more must not wait for its answers
constexpr std::size_t kMostPrepared = 1000; // all SQL stands in the ledger: the limit only bounds a fault

// Whoever writes holds this advisory lock of the database for the transaction: one at a time, of any number
// of brokers, as the ledger's chain and counters want it. "lk" and a number.
constexpr const char* kWriteLock = "SELECT pg_advisory_xact_lock(27755, 1)";
// The lock's wait is over before the first statement takes its snapshot: so it sees all that was committed.
constexpr const char* kBeginWriting = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";
constexpr const char* kBeginReading = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
constexpr const char* kSavepoint = "SAVEPOINT latchkey";
constexpr const char* kRelease = "RELEASE SAVEPOINT latchkey";
constexpr const char* kRollbackTo = "ROLLBACK TO SAVEPOINT latchkey";

bool is_error(const PGresult* answer) {
    const ExecStatusType status = PQresultStatus(answer);
    return status == PGRES_FATAL_ERROR || status == PGRES_BAD_RESPONSE;
}

} // namespace

Connection::Connection(Session session, const Settings& settings)
    : session_(std::move(session)),
      where_(settings.where),
      patience_(settings.statement_timeout + kBeyondTheServers) {}

Result<std::unique_ptr<Connection>> Connection::open(const Settings& settings) {
    LK_TRY(session, connect(settings));
    std::unique_ptr<Connection> made(new Connection(std::move(session), settings));
    if (PQsetnonblocking(made->session_.get(), 1) != 0 || PQenterPipelineMode(made->session_.get()) != 1)
        return fail(Code::kInternal, "libpq refuses its pipeline mode");
    LK_CHECK(made->run_script(set_up_script(settings)));
    return made;
}

// --- One exchange: what was put off, one command, and its answer -------------------------------------------

Status Connection::usable() const {
    if (lost_) return fail(*lost_);
    if (doomed_) return fail(*doomed_);
    return {};
}

Failure Connection::die(std::string_view why) {
    Failure made = lost(why, where_);
    if (!lost_) lost_ = made.error;
    return made;
}

Failure Connection::noted(const PGresult* answer) {
    Failure made = failure(answer, where_);
    if (PQstatus(session_.get()) == CONNECTION_BAD && made.error.code != Code::kUnavailable)
        return die(one_line(PQerrorMessage(session_.get())));
    if (ends_session(answer)) {
        // Whatever it was (a full disk is a PANIC in a commit): what the session did last is not known.
        made.error.code = Code::kUnavailable;
        lost_ = made.error;
    }
    return made;
}

Connection::SteadyTime Connection::deadline() const {
    return std::chrono::steady_clock::now() + patience_;
}

bool Connection::send_later() {
    has_savepoint_later_ = false;
    for (const std::string& command : later_) {
        if (PQsendQueryParams(session_.get(), command.c_str(), 0, nullptr, nullptr, nullptr, nullptr, 0) != 1)
            return false;
    }
    later_.clear();
    return true;
}

Status Connection::sync() {
    if (PQpipelineSync(session_.get()) == 1) return {};
    return die(one_line(PQerrorMessage(session_.get())));
}

Status Connection::flush(SteadyTime until) {
    for (;;) {
        const int left = PQflush(session_.get());
        if (left == 0) return {};
        if (left < 0) return die(one_line(PQerrorMessage(session_.get())));
        if (!wait_for_socket(session_.get(), true, until)) return die("it does not take what it is sent");
        if (PQconsumeInput(session_.get()) != 1) return die(one_line(PQerrorMessage(session_.get())));
    }
}

Result<Answer> Connection::next_answer(SteadyTime until) {
    while (PQisBusy(session_.get()) != 0) {
        if (!wait_for_socket(session_.get(), false, until)) return die("it gives no answer");
        if (PQconsumeInput(session_.get()) != 1) return die(one_line(PQerrorMessage(session_.get())));
    }
    return Answer(PQgetResult(session_.get()));
}

// Reads to the end of one exchange. Its first error is its outcome: what follows it was not done. `wanted`:
// which command's answer to keep.
Status Connection::read_to_sync(std::size_t wanted, Answer& kept) {
    const Status outcome = read_all(wanted, kept);
    if (!outcome) { // what failed may be prepared or not: its next use gets another name
        for (const std::string& key : unsure_) {
            const std::string name = prepared_.extract(key).mapped();
            prepared_.emplace(name, name);
        }
    }
    unsure_.clear();
    return outcome;
}

Status Connection::read_all(std::size_t wanted, Answer& kept) {
    const std::size_t posted = std::exchange(unsynced_, 0);
    posted_bytes_ = 0;
    const SteadyTime until = deadline();
    LK_CHECK(flush(until));
    Status outcome;
    for (std::size_t command = 0;;) {
        LK_TRY(answer, next_answer(until));
        if (!answer) {
            if (PQstatus(session_.get()) == CONNECTION_BAD)
                return die(one_line(PQerrorMessage(session_.get())));
            ++command;
            continue;
        }
        const ExecStatusType status = PQresultStatus(answer.get());
        if (status == PGRES_PIPELINE_SYNC) return outcome;
        if (is_error(answer.get()) && outcome) {
            Failure made = noted(answer.get());
            if (command < posted && !lost_) {
                made.error.code = Code::kConflict;
                doomed_ = made.error;
            }
            outcome = std::move(made);
        }
        if (lost_) return outcome;
        if (command == wanted) kept = std::move(answer);
    }
}

Status Connection::drain() {
    for (; unread_syncs_ > 0; --unread_syncs_) {
        Answer ignored;
        const Status read = read_to_sync(SIZE_MAX, ignored);
        LK_CHECK(usable());
        (void)read; // nobody waits for it
    }
    return {};
}

Status Connection::ask(std::string command) {
    LK_CHECK(usable());
    LK_CHECK(drain());
    later_.push_back(std::move(command));
    const std::size_t wanted = unsynced_ + later_.size() - 1;
    if (!send_later()) return die(one_line(PQerrorMessage(session_.get())));
    LK_CHECK(sync());
    Answer answer;
    return read_to_sync(wanted, answer);
}

// What waits and one statement, without the sync that makes the server answer. Gives the place of the
// statement's answer among those of all that was sent since the last one.
Result<std::size_t> Connection::send(std::string_view sql, std::span<const lk_value> parameters) {
    LK_CHECK(usable());
    LK_CHECK(drain());
    LK_CHECK(parameters_.set(parameters));
    const std::string key = parameters_.signature() + ' ' + std::string(sql);
    const auto known = prepared_.find(key);
    if (prepared_.size() >= kMostPrepared) return die("too many different statements");
    const bool is_new = known == prepared_.end();
    const std::string name = is_new ? "lk" + std::to_string(prepared_.size()) : known->second;

    std::size_t place = unsynced_ + later_.size();
    bool is_sent = send_later();
    if (is_new) {
        is_sent = is_sent && PQsendPrepare(session_.get(), name.c_str(), key.c_str() + key.find(' ') + 1,
                                           parameters_.count(), parameters_.types()) == 1;
        prepared_.emplace(key, name);
        unsure_.push_back(key);
        ++place;
    }
    is_sent = is_sent &&
              PQsendQueryPrepared(session_.get(), name.c_str(), parameters_.count(), parameters_.values(),
                                  parameters_.lengths(), parameters_.formats(), 1) == 1;
    if (!is_sent) return die(one_line(PQerrorMessage(session_.get())));
    return place;
}

Result<std::int64_t> Connection::run(std::string_view sql, std::span<const lk_value> parameters,
                                     const sdk::RowSink& rows) {
    LK_TRY(place, send(sql, parameters));
    LK_CHECK(sync());
    Answer answer;
    LK_CHECK(read_to_sync(place, answer));
    for (int i = 0; i < PQntuples(answer.get()); ++i) {
        LK_CHECK(read_row(answer.get(), i, row_));
        LK_CHECK(rows.row(row_));
    }
    return changed_rows(answer.get());
}

Status Connection::post(std::string_view sql, std::span<const lk_value> parameters) {
    LK_TRY(place, send(sql, parameters));
    unsynced_ = place + 1;
    for (const lk_value& value : parameters) posted_bytes_ += sizeof value + value.bytes.size;
    return posted_bytes_ < kMostPosted ? Status() : read_posted();
}

Status Connection::read_posted() {
    if (unsynced_ == 0) return {};
    LK_CHECK(sync());
    Answer ignored;
    return read_to_sync(SIZE_MAX, ignored);
}

Status Connection::run_script(std::string_view sql) {
    if (!later_.empty()) {
        std::string last = std::move(later_.back());
        later_.pop_back();
        LK_CHECK(ask(std::move(last)));
    }
    LK_CHECK(usable());
    LK_CHECK(read_posted());
    LK_CHECK(drain());
    // Several statements at once are not for the pipeline.
    if (PQexitPipelineMode(session_.get()) != 1) return die(one_line(PQerrorMessage(session_.get())));
    const std::string script = "SET LOCAL statement_timeout = 0;" + std::string(sql);
    if (PQsendQuery(session_.get(), script.c_str()) != 1)
        return die(one_line(PQerrorMessage(session_.get())));
    const SteadyTime until = std::chrono::steady_clock::now() + kScriptPatience;
    LK_CHECK(flush(until));
    Status outcome;
    for (;;) {
        LK_TRY(answer, next_answer(until));
        if (!answer) break;
        if (is_error(answer.get()) && outcome) outcome = noted(answer.get());
    }
    LK_CHECK(usable());
    if (PQenterPipelineMode(session_.get()) != 1) return die(one_line(PQerrorMessage(session_.get())));
    return outcome;
}

// --- Transactions
// -------------------------------------------------------------------------------------------

// As the last answer said. What was posted since, and failed, dooms the transaction when it is read.
bool Connection::has_failed() const {
    return unsynced_ == 0 && PQtransactionStatus(session_.get()) == PQTRANS_INERROR;
}

Status Connection::begin(bool for_writing) {
    LK_CHECK(usable());
    is_writing_ = for_writing;
    later_.assign(1, for_writing ? kBeginWriting : kBeginReading);
    if (!for_writing) return {};
    Status begun = ask(kWriteLock);
    if (!begun && !lost_) LK_CHECK(ask("ROLLBACK"));
    return begun;
}

Status Connection::commit() {
    LK_CHECK(usable());
    // COMMIT in a transaction that has failed is answered, without an error, by ROLLBACK.
    if (has_failed() && later_.empty()) {
        LK_CHECK(rollback());
        return fail(Code::kInternal, "database " + where_ + ": commit after a statement that failed");
    }
    return ask("COMMIT");
}

Status Connection::rollback() {
    later_.clear();
    has_savepoint_later_ = false;
    const Status posted = read_posted(); // first: behind what failed the server passes over a ROLLBACK too
    doomed_.reset();
    LK_CHECK(usable());
    (void)posted; // it is undone
    const PGTransactionStatusType status = PQtransactionStatus(session_.get());
    if (unread_syncs_ == 0 && status == PQTRANS_IDLE) return {}; // its BEGIN was never sent
    if (is_writing_) return ask("ROLLBACK");
    later_.emplace_back("ROLLBACK"); // what ends a reading transaction need not be waited for
    if (!send_later()) return die(one_line(PQerrorMessage(session_.get())));
    LK_CHECK(sync());
    ++unread_syncs_;
    if (PQflush(session_.get()) < 0) return die(one_line(PQerrorMessage(session_.get())));
    return {};
}

Status Connection::savepoint() {
    LK_CHECK(usable());
    later_.emplace_back(kSavepoint);
    has_savepoint_later_ = true;
    return {};
}

Status Connection::release_savepoint() {
    LK_CHECK(usable());
    if (has_savepoint_later_) {
        later_.pop_back();
        has_savepoint_later_ = false;
        return {};
    }
    if (has_failed()) {
        return fail(Code::kInternal, "database " + where_ + ": a statement failed since the savepoint",
                    "roll back to it");
    }
    later_.emplace_back(kRelease);
    return {};
}

Status Connection::rollback_to_savepoint() {
    LK_CHECK(usable());
    if (has_savepoint_later_) {
        later_.pop_back();
        has_savepoint_later_ = false;
        return {};
    }
    later_.emplace_back(kRollbackTo);
    later_.emplace_back(kRelease); // the savepoint outlives ROLLBACK TO
    return {};
}

// --- Word between brokers
// ---------------------------------------------------------------------------------------

std::string Connection::quoted(std::string_view text, bool is_name) const {
    const UniqueHandle<char, PQfreemem> made(
        is_name ? PQescapeIdentifier(session_.get(), text.data(), text.size())
                : PQescapeLiteral(session_.get(), text.data(), text.size()));
    return made ? made.get() : "";
}

Status Connection::listen(std::string_view channel) {
    return ask("LISTEN " + quoted(channel, true));
}

Status Connection::notify(std::string_view channel, std::string_view payload) {
    LK_CHECK(usable());
    later_.push_back("SELECT pg_notify(" + quoted(channel, false) + ", " + quoted(payload, false) + ")");
    has_savepoint_later_ = false;
    return {};
}

Status Connection::wait(int timeout_ms, const sdk::RowSink& rows) {
    LK_CHECK(usable());
    LK_CHECK(drain());
    const SteadyTime until = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
    for (bool has_heard = false;;) {
        if (PQconsumeInput(session_.get()) != 1) return die(one_line(PQerrorMessage(session_.get())));
        while (const UniqueHandle<PGnotify, PQfreemem> heard{PQnotifies(session_.get())}) {
            const lk_value row[] = {{LK_TEXT, 0, sdk::lend(std::string_view(heard->relname))},
                                    {LK_TEXT, 0, sdk::lend(std::string_view(heard->extra))}};
            LK_CHECK(rows.row(row));
            has_heard = true;
        }
        if (PQstatus(session_.get()) == CONNECTION_BAD) return die(one_line(PQerrorMessage(session_.get())));
        if (has_heard || !wait_for_socket(session_.get(), false, until)) return {};
    }
}

} // namespace latchkey::postgres
