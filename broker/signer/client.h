// SPDX-License-Identifier: Apache-2.0
#pragma once
// The broker's side of the signer: CertificateSigner is what the issuer sees; SignerClient is the real one,
// over a few parallel connections to latchkey-signer. Any thread. One request a connection at a time, each
// under one deadline; a connection that fails is dropped and made anew. A signer that hangs holds up a few
// callers for that long, and then for a while nobody. kUnavailable where the signer does not answer, the
// signer's own refusal (kRefused, …) as it came.

#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "broker/metrics/registry.h"
#include "core/base/bytes.h"
#include "core/base/clock.h"
#include "core/base/result.h"
#include "core/keys/public_key.h"
#include "core/posix/stream.h"

namespace latchkey::signer {

class CertificateSigner {
public:
    virtual ~CertificateSigner() = default;
    // The CA key's signature blob over the to-be-signed bytes of a certificate (core/cert/certificate.h).
    virtual Result<Bytes> sign(ByteView to_be_signed) = 0;
    // The CA keys; the first is the one that signs.
    virtual Result<std::vector<keys::PublicKey>> public_keys() = 0;
};

class SignerClient : public CertificateSigner {
public:
    // Makes a connection; any thread. See SignerProcess::connect and at_socket().
    using Connect = std::function<Result<posix::Stream>(const posix::Deadline&)>;
    struct Options {
        unsigned connections = 4;               // in use at once; further callers wait, within their deadline
        Micros deadline = from_seconds(1);      // a VM's helper gives up after 1.5 s
        Micros after_silence = from_seconds(1); // where one had no answer in time, the next fail at once
    };

    explicit SignerClient(Connect connect) : SignerClient(std::move(connect), Options()) {}
    SignerClient(Connect connect, Options options) : connect_(std::move(connect)), options_(options) {}
    // A signer that somebody else runs, at its Unix socket.
    static Connect at_socket(std::string path);

    Result<Bytes> sign(ByteView to_be_signed) override;
    Result<std::vector<keys::PublicKey>> public_keys() override;

    void describe(metrics::Registry& registry) const;

private:
    Result<protocol::Frame> ask(ByteView request);
    Result<protocol::Frame> ask_over(ByteView request, const posix::Deadline& deadline);
    Result<posix::Stream> borrow(const posix::Deadline& deadline, bool& is_fresh);
    void give_back(std::optional<posix::Stream> stream);
    bool is_silent();
    void note(bool has_answered, const posix::Deadline& deadline);

    Connect connect_;
    Options options_;
    std::mutex mutex_;
    std::condition_variable returned_;
    std::vector<posix::Stream> idle_;
    unsigned in_use_ = 0;
    std::optional<posix::Deadline> silent_until_;
    metrics::Histogram asking_;
    metrics::Counter unanswered_;
};

} // namespace latchkey::signer
