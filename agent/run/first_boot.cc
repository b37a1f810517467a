// SPDX-License-Identifier: Apache-2.0
#include "agent/run/first_boot.h"

#include <algorithm>
#include <system_error>

#include "core/posix/file.h"

namespace latchkey::agent {
namespace {

constexpr Micros kFirstPause = from_seconds(1);
constexpr Micros kLongestPause = from_seconds(60);

struct FoundToken {
    protocol::JoinToken token;
    std::filesystem::path place;
};

Result<std::optional<FoundToken>> find_token(const TokenPlaces& places) {
    for (const std::filesystem::path& place : {places.credential, places.file}) {
        if (place.empty()) continue;
        const auto content = posix::read_secret_file(place);
        if (!content && content.error().code == Code::kNotFound) continue;
        if (!content) return fail(content.error());
        auto token = parse_token(as_text(content->view()));
        if (!token) {
            return fail(token.error().code, place.string() + " holds no join token: " + token.error().message,
                        "put the line there that `vm token` printed at the broker");
        }
        return std::optional(FoundToken{*std::move(token), place});
    }
    return std::optional<FoundToken>();
}

// A token that is spent opens nothing; that it still lies there is no reason to fail.
void remove_spent(const std::filesystem::path& file, const FirstBootWorld& world) {
    std::error_code error;
    std::filesystem::remove(file, error);
    if (error) world.say("fail to remove the spent token " + file.string() + " why=" + error.message());
}

bool may_pass(Code code) {
    return code == Code::kUnavailable || code == Code::kTimedOut;
}

// Calls `ask` until it says something that waiting does not change. Each new reason is said once.
template <class Ask>
auto patiently(const FirstBootWorld& world, Ask ask) -> decltype(ask()) {
    std::string said;
    for (Micros pause = kFirstPause;; pause = std::min(Micros{pause.value * 2}, kLongestPause)) {
        auto answer = ask();
        if (answer || !may_pass(answer.error().code)) return answer;
        const std::string line = answer.error().line();
        if (line != said) world.say("wait to join why=\"" + line + "\"");
        said = line;
        world.pause(pause);
    }
}

} // namespace

Result<protocol::JoinToken> parse_token(std::string_view text) {
    static constexpr std::string_view blank = " \t\r\n";
    text.remove_prefix(std::min(text.find_first_not_of(blank), text.size()));
    return protocol::JoinToken::parse(text.substr(0, text.find_last_not_of(blank) + 1));
}

Result<FirstBoot> first_boot(const StateFolder& state, const TokenPlaces& places,
                             const FirstBootWorld& world) {
    const auto before = state.load_pin();
    if (before) {
        remove_spent(places.file, world);
        return FirstBoot::kJoinedBefore;
    }
    if (before.error().code != Code::kNotFound) return fail(before.error());
    LK_TRY(found, find_token(places));
    if (!found) return FirstBoot::kNoToken;
    LK_TRY(name, patiently(world, world.host_name));
    LK_TRY(pin, patiently(world, [&] { return world.join(found->token, name); }));
    if (found->place == places.file) remove_spent(places.file, world);
    world.say("join broker=" + pin.broker.text() + " vm=" + pin.vm_name.str());
    return FirstBoot::kJoined;
}

Result<VmName> own_name_of_host() {
    LK_TRY(name, name_of_host());
    if (name.str() == "localhost" || name.str().starts_with("localhost."))
        return fail(Code::kUnavailable, "this machine has no name of its own yet",
                    "name it: hostnamectl hostname NAME");
    return name;
}

} // namespace latchkey::agent
