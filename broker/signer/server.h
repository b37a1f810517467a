// SPDX-License-Identifier: Apache-2.0
#pragma once
// latchkey-signer's serving side: connections, each on a thread of its own, one request at a time. The permit
// table:
//   SignCertificate -> permit() judges, then the plugin signs    PublicKeys -> the plugin's keys
// Anything else is answered with Unsupported. A frame that does not parse closes its connection. Signatures
// are limited by a token bucket over all connections. The CaSigner outlives the server.

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "broker/plugin_host/ca_signer.h"
#include "broker/signer/permit.h"
#include "core/base/clock.h"
#include "core/base/unique_handle.h"
#include "core/protocol/frame.h"

namespace latchkey::signer {

class Server {
public:
    struct Options {
        Limits limits;
        double signatures_per_second = 10'000;
        unsigned max_connections = 32;
        std::function<void(const std::string&)> log; // any thread; one line each, bounded
    };
    Server(plugin_host::CaSigner& ca, const Clock& clock, Options options);
    ~Server(); // closes the connections and waits for their threads

    // Asks the plugin for its keys. Before anything else.
    Status prepare();
    // Serves it on a thread of its own until the other side closes; over max_connections it is closed at
    // once.
    void add(UniqueFd connection);
    // The answer to one request; any thread.
    Bytes answer(const protocol::Frame& request);

    // Takes connections that arrive as descriptors over a control socket (control.h); returns when it closes.
    Status take_from_control(int control);
    // Binds the path and takes connections of this user and of root (SO_PEERCRED); returns on failure only.
    Status take_from_socket(const std::string& path, uid_t allowed);

private:
    Result<Bytes> sign(const protocol::Frame& request);
    bool take_token();
    void note(const Error& refusal);
    void serve(UniqueFd connection);

    plugin_host::CaSigner& ca_;
    const Clock& clock_;
    Options options_;
    std::vector<keys::PublicKey> keys_;
    std::mutex mutex_; // everything below
    std::condition_variable ended_;
    std::set<int> open_;
    double tokens_;
    Micros filled_at_;
    Micros noted_at_{0};
};

} // namespace latchkey::signer
