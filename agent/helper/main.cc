// SPDX-License-Identifier: Apache-2.0
// latchkey-authorized-keys: sshd's AuthorizedKeysCommand. Asks the agent once and prints the lines for sshd.
// sshd runs it twice a login and hides 1.5 ms of it, so start-up is what counts here: static, no iostream, no
// locale. Whatever fails, stdout stays empty and the status is 1, which sshd takes as "no key".

#include <syslog.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <string_view>

#include "agent/helper/chain.h"
#include "core/posix/stream.h"
#include "core/protocol/local.h"

namespace latchkey {
namespace {

constexpr const char* kDefaultSocket = "/run/latchkey-agent/agent.sock";
constexpr const char* kDefaultList = "/var/lib/latchkey-agent/managed-logins";
constexpr Micros kTimeLimit = from_seconds(2);

struct Question {
    std::string socket = kDefaultSocket;
    std::string managed_list = kDefaultList;
    protocol::Authorize authorize;
    char** then = nullptr; // the command to ask for logins that are not managed; nullptr: none
};

Result<Question> read_arguments(int count, char** words) {
    Question question;
    char** const end = words + count;
    char** const then =
        std::find_if(words, end, [](const char* word) { return std::string_view(word) == "--then"; });
    if (then != end) {
        question.then = then + 1;
        count = static_cast<int>(then - words);
    }
    int next = 1;
    for (; count > next + 1; next += 2) {
        const std::string_view option = words[next];
        if (option == "--socket") {
            question.socket = words[next + 1];
        } else if (option == "--managed") {
            question.managed_list = words[next + 1];
        } else {
            break;
        }
    }
    if (count - next != 4 || question.then == end) {
        return fail(Code::kUsage,
                    "wrong arguments; usage: latchkey-authorized-keys [--socket PATH] [--managed PATH] USER "
                    "KEYTYPE KEYBLOB FINGERPRINT [--then COMMAND [WORD]...]",
                    "write in sshd_config: AuthorizedKeysCommand PATH %u %t %k %f");
    }
    LK_TRY(blob, from_base64(words[next + 2]));
    auto fingerprint = Fingerprint::parse(words[next + 3]);
    if (!fingerprint) {
        return fail(Code::kMalformed, "sshd gave a fingerprint that is not SHA256",
                    "write in sshd_config: FingerprintHash sha256");
    }
    // A name that is none of ours (a domain account, say) cannot be managed: no grant, and no fault either.
    if (auto login = Login::parse(words[next])) question.authorize.login = *login;
    question.authorize.key_type = words[next + 1];
    question.authorize.key_blob = std::move(blob);
    question.authorize.fingerprint = *std::move(fingerprint);
    return question;
}

Result<protocol::Authorized> ask(const Question& question) {
    const auto deadline = posix::Deadline::after(kTimeLimit);
    LK_TRY(stream, posix::Stream::connect_unix(question.socket, deadline));
    LK_CHECK(stream.send(protocol::encode(question.authorize), deadline));
    LK_TRY(frame, stream.receive(protocol::kLocalFrameLimit, deadline));
    if (frame.type == protocol::Type::kRefused) {
        LK_TRY(refused, protocol::decode<protocol::Refused>(frame));
        return fail(Code::kRefused, "the agent refused: " + refused.message, refused.next);
    }
    return protocol::decode<protocol::Authorized>(frame);
}

// One text for one write: sshd gets all lines or none.
Result<std::string> text_for_sshd(const protocol::Authorized& answer) {
    std::string text;
    for (const std::string& line : answer.lines) {
        for (const char c : line) {
            if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
                return fail(Code::kMalformed, "the agent's line holds a control character");
        }
        text += line;
        text += '\n';
    }
    return text;
}

Status print(std::string_view text) {
    while (!text.empty()) {
        const ssize_t put = ::write(STDOUT_FILENO, text.data(), text.size());
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return fail(Code::kIo, "cannot write the answer to sshd");
        text.remove_prefix(static_cast<std::size_t>(put));
    }
    return {};
}

// Denied by Latchkey is denied; whom it does not manage, another command may know.
Status run(int count, char** words) {
    LK_TRY(question, read_arguments(count, words));
    const Login& login = question.authorize.login;
    bool is_unmanaged = login.empty();
    if (!login.empty()) {
        const auto answer = ask(question);
        if (!answer) {
            const bool may_go_on = question.then != nullptr && answer.error().code != Code::kRefused;
            if (!may_go_on || !helper::is_unmanaged_by_list(question.managed_list, login))
                return fail(answer.error());
            is_unmanaged = true;
        } else if (!answer->lines.empty()) {
            LK_TRY(text, text_for_sshd(*answer));
            return print(text);
        } else {
            is_unmanaged = protocol::says_unmanaged(*answer);
        }
    }
    if (!is_unmanaged || question.then == nullptr) return {};
    return helper::run_in_our_place(question.then);
}

// sshd throws our stderr away; a person who tries the program by hand sees it.
void report(const Error& error) {
    std::string line = "latchkey-authorized-keys: " + error.line() + "\n";
    const ssize_t put = ::write(STDERR_FILENO, line.data(), line.size());
    static_cast<void>(put);
    ::openlog("latchkey-authorized-keys", LOG_PID, LOG_AUTHPRIV);
    ::syslog(LOG_ERR, "%s", error.line().c_str());
}

} // namespace
} // namespace latchkey

int main(int count, char** words) {
    try {
        const latchkey::Status done = latchkey::run(count, words);
        if (done) return 0;
        latchkey::report(done.error());
    } catch (...) { // out of memory: nothing was printed
    }
    return 1;
}
