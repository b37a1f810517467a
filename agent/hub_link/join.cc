// SPDX-License-Identifier: Apache-2.0
#include "agent/hub_link/join.h"

#include <unistd.h>

#include <array>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <cctype>
#include <optional>

#include "agent/hub_link/hub_link.h"
#include "agent/hub_link/tls_stream.h"
#include "core/protocol/local.h"

namespace latchkey::agent {
namespace {

constexpr std::size_t kMaxLabelSize = 128;

asio::awaitable<Result<protocol::Joined>> ask(const protocol::JoinToken& token, const JoinWishes& wishes,
                                              const keys::PrivateKey& identity) {
    const auto tls = make_tls_context(identity);
    if (!tls) co_return fail(tls.error());
    auto stream = co_await TlsStream::connect(token.broker, token.broker_key, *tls, kConnectTime);
    if (!stream) co_return fail(stream.error());
    protocol::Join request;
    request.token_id = token.id;
    request.token_secret = token.secret.clone();
    request.name = wishes.name;
    request.labels = wishes.labels;
    Bytes bytes = protocol::encode(request);
    const Status sent = co_await (*stream)->write(std::move(bytes));
    if (!sent) co_return fail(sent.error());
    const auto frame = co_await (*stream)->read_within(kConnectTime);
    (*stream)->close();
    if (!frame) co_return fail(frame.error());
    if (frame->type == protocol::Type::kRefused) {
        const auto refused = protocol::decode<protocol::Refused>(*frame);
        if (refused) co_return fail(Code::kRefused, "the broker refuses: " + refused->message, refused->next);
    }
    co_return protocol::decode<protocol::Joined>(*frame);
}

template <class T>
bool is_missing(const Result<T>& loaded) {
    return !loaded && loaded.error().code == Code::kNotFound;
}

} // namespace

Result<BrokerPin> join(const StateFolder& folder, const protocol::JoinToken& token,
                       const JoinWishes& wishes) {
    LK_CHECK(folder.make());
    // PAM takes a folder without this list for a damaged one, and lets nobody in: a new one has it from the
    // start. What a joined VM keeps closed stays closed until the agent has heard the broker.
    if (is_missing(folder.load_pin()) && is_missing(folder.load_managed_logins()))
        LK_CHECK(folder.save_managed_logins({}));
    LK_TRY(identity, folder.load_or_make_identity());
    std::optional<Result<protocol::Joined>> answer;
    asio::io_context io(1);
    asio::co_spawn(
        io, [&]() -> asio::awaitable<void> { answer = co_await ask(token, wishes, identity); },
        [](const std::exception_ptr& /*problem*/) {}); // then there is no answer
    io.run();
    if (!answer) return fail(Code::kInternal, "joining broke off", "try again");
    LK_TRY(joined, *std::move(answer));
    if (joined.name.empty()) return fail(Code::kMalformed, "the broker gave this VM no name");
    BrokerPin pin{token.broker, token.broker_key, joined.vm_id, joined.name};
    LK_CHECK(folder.begin_with(pin));
    return pin;
}

Result<protocol::KeyValue> parse_label(std::string_view text) {
    const std::size_t equals = text.find('=');
    if (equals == std::string_view::npos || equals == 0 || text.size() > kMaxLabelSize)
        return fail(Code::kUsage, "not a label: " + std::string(text.substr(0, 64)),
                    "write --label key=value");
    return protocol::KeyValue{std::string(text.substr(0, equals)), std::string(text.substr(equals + 1))};
}

Result<VmName> name_of_host() {
    std::array<char, 256> host{};
    if (::gethostname(host.data(), host.size() - 1) != 0)
        return fail(Code::kIo, "this machine's name cannot be read", "give one: --name NAME");
    std::string name(host.data());
    for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    auto parsed = VmName::parse(name);
    if (!parsed) return fail(Code::kUsage, "this machine's name makes no VM name", "give one: --name NAME");
    return parsed;
}

} // namespace latchkey::agent
