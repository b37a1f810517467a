// SPDX-License-Identifier: Apache-2.0
#pragma once
// A command: its words, who may, how fresh a factor it wants, its flags, and the function that does it. Each
// noun's file offers its table; desk.cc finds the entry, judges role and freshness, parses the flags and
// calls. A Call lives for one command, on one thread.

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "broker/desk/console.h"
#include "broker/desk/context.h"
#include "broker/desk/report.h"

namespace latchkey::desk {

enum class Freshness : std::uint8_t {
    kNone = 1,
    kAudit,  // a live unlock of whoever reads everybody's: auditors and admins
    kUnlock, // a live unlock
    kRecent, // a factor younger than Settings::admin_fresh
    kLogin,  // a factor given in this very login
};

struct Flag {
    std::string_view name; // "--email"
    bool takes_value = true;
    bool is_repeatable = false;
    bool is_text = false; // goes on to the next flag: ssh takes quotes off
};

class Arguments {
public:
    // kUsage with the reason.
    static Result<Arguments> parse(std::span<const std::string> words, std::span<const Flag> flags,
                                   std::size_t least, std::size_t most);

    const std::string& at(std::size_t i) const { return positional_[i]; }
    std::size_t size() const { return positional_.size(); }
    bool has(std::string_view flag) const;
    std::optional<std::string> one(std::string_view flag) const;
    std::vector<std::string> all(std::string_view flag) const; // in order
    bool wants_json() const { return has("--json"); }

private:
    std::vector<std::string> positional_;
    std::vector<std::pair<std::string, std::string>> flags_;
};

struct Call {
    const Context& context;
    const Caller& caller;
    Console& console;
    Arguments arguments;
    ledger::User user; // as it stands now
    ledger::Key key;
    std::optional<ledger::Unlock> unlock;
    std::string line;          // the command as it was typed
    bool needs_unlock = false; // the command wants `unlock`, or this is it once it was given

    bool is_at_least(ledger::Role role) const { return user.role >= role; }
    const std::string& actor() const { return user.name.str(); }
    Micros now() const { return context.clock.now(); }
    template <class Job>
    auto read(Job job) const {
        return context.ledger.read(std::move(job));
    }
    // The change of a caller who still stands as they did when the command was judged: it may have waited
    // minutes for a code or for input. Else nothing is written.
    template <class Job>
    auto write(Job job) const {
        using Outcome = std::invoke_result_t<const Job&, ledger::Transaction&>;
        return context.ledger.write([this, job = std::move(job)](ledger::Transaction& t) -> Outcome {
            LK_CHECK(check_standing(t));
            return job(t);
        });
    }
    // kRevoked, kLocked, kRefused where the role is less than it was, kUnauthenticated where the unlock that
    // the command wants has ended.
    Status check_standing(ledger::Transaction& t) const;

    // Output: text for a person, the same as JSON with --json.
    void list(const std::string& name, const std::vector<Record>& rows, std::string_view when_empty) const;
    void object(const Record& record) const;
    void done(const Record& record, const std::string& sentence) const; // the sentence for a person
    // "ssh -p 2222 bob@broker WORDS": what to run next.
    std::string ssh_line(std::string_view words, std::string_view options = "",
                         std::string_view user_name = "") const;
    // Asks for a factor in the channel until it is at least that fresh, and looks at the caller anew after
    // that. kUnauthenticated with the line to run.
    Status ensure_fresh(Freshness freshness);
    // kRefused with a message of its own, for what the role alone does not decide.
    Status require(ledger::Role role, std::string_view for_what) const;
};

struct Command {
    std::string_view words; // "user add"
    std::string_view usage; // arguments and flags
    std::string_view says;  // one line for help
    ledger::Role role;
    Freshness freshness;
    std::size_t least = 0; // arguments
    std::size_t most = 0;
    std::vector<Flag> flags; // --json is on all
    Status (*run)(Call& call) = nullptr;
};

std::span<const Command> own_commands();
std::span<const Command> vm_commands();
std::span<const Command> token_commands();
std::span<const Command> user_commands();
std::span<const Command> key_commands();
std::span<const Command> factor_commands();
std::span<const Command> group_commands();
std::span<const Command> grant_commands();
std::span<const Command> explain_commands();
std::span<const Command> revoke_commands();
std::span<const Command> session_commands();
std::span<const Command> audit_commands();
std::span<const Command> ca_commands();
// All of them, in the order of help.
const std::vector<const Command*>& all_commands();

// A user knows of the VMs that they may log in to by these rules of theirs; auditors and admins know of all.
bool may_see(const Call& call, const std::vector<ledger::Rule>& rules, const ledger::Vm& vm);

// Look-ups that say what to do where there is no such thing.
Result<ledger::User> find_user_named(ledger::Transaction& t, std::string_view name);
Result<ledger::Group> find_group_named(ledger::Transaction& t, std::string_view name);
Result<ledger::Vm> find_vm_named(ledger::Transaction& t, std::string_view name);
Result<RowId> parse_id(std::string_view text);
std::vector<std::string> login_texts(const std::vector<Login>& logins);
std::string_view role_name(ledger::Role role);
std::string_view state_name(ledger::UserState state);

} // namespace latchkey::desk
