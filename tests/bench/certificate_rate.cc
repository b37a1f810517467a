// SPDX-License-Identifier: Apache-2.0
// How many certificates one core makes: a public key parsed from its blob, the certificate built, signed,
// read back and encoded as a line, as the issuer does it. certificate_rate [ROUNDS]. The floor, in turn with
// it in this process: bare ed25519 signatures by OpenSSL, as `openssl speed ed25519` counts them. Prints
// JSON. The process is to be pinned: taskset -c 0 certificate_rate.

#include <openssl/evp.h>
#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "core/cert/certificate.h"
#include "core/keys/openssl.h"
#include "core/keys/private_key.h"
#include "tests/bench/timing.h"

namespace latchkey::bench {
namespace {

constexpr int kEachRound = 1000;   // 25 ms: short beside the machine's changes of speed
constexpr std::size_t kUsers = 64; // different keys, so that no run lives from one in the cache

struct Issue {
    keys::PrivateKey ca;
    std::vector<Bytes> users; // public key blobs
    std::uint64_t serial = 0;
};

Result<std::string> issue_one(Issue& issue) {
    const std::uint64_t serial = ++issue.serial;
    LK_TRY(subject, keys::PublicKey::from_blob(issue.users[serial % issue.users.size()]));
    std::array<std::uint8_t, 32> nonce{};
    if (RAND_bytes(nonce.data(), static_cast<int>(nonce.size())) != 1)
        return fail(Code::kInternal, "no random numbers");
    cert::Content content;
    content.subject = std::move(subject);
    content.serial = {serial};
    content.key_id = "alice/" + std::to_string(serial);
    content.principals = {"ubuntu", "deploy"};
    content.valid_after = 1'700'000'000;
    content.valid_before = 1'700'003'600;
    content.extensions = {
        {"permit-agent-forwarding", ""}, {"permit-port-forwarding", ""}, {"permit-pty", ""}};
    LK_TRY(to_be_signed, cert::to_be_signed(content, nonce, issue.ca.public_key()));
    LK_TRY(signature, issue.ca.sign(to_be_signed));
    LK_TRY(certificate, cert::Certificate::from_blob(cert::with_signature(to_be_signed, signature)));
    return certificate.line();
}

Result<double> certificates_per_second(Issue& issue) {
    const CpuStopwatch watch;
    for (int i = 0; i < kEachRound; ++i) {
        LK_TRY(line, issue_one(issue));
        keep(line);
    }
    return kEachRound / watch.seconds();
}

// 20 bytes, and a context that is set up once, as `openssl speed` has it.
Result<double> signatures_per_second(EVP_PKEY* key) {
    const keys::DigestContextHandle context(EVP_MD_CTX_new());
    if (!context || EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key) != 1)
        return keys::openssl_failure(Code::kInternal, "no signing context");
    const std::array<std::uint8_t, 20> message{};
    std::array<std::uint8_t, 64> signature{};
    const CpuStopwatch watch;
    for (int i = 0; i < kEachRound; ++i) {
        std::size_t size = signature.size();
        if (EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, nullptr) != 1 ||
            EVP_DigestSign(context.get(), signature.data(), &size, message.data(), message.size()) != 1)
            return keys::openssl_failure(Code::kInternal, "OpenSSL does not sign");
        keep(signature);
    }
    return kEachRound / watch.seconds();
}

Status run(int rounds) {
    LK_TRY(ca, keys::PrivateKey::generate(keys::KeyType::kEd25519));
    Issue issue{std::move(ca), {}};
    for (std::size_t i = 0; i < kUsers; ++i) {
        LK_TRY(user, keys::PrivateKey::generate(keys::KeyType::kEd25519));
        issue.users.push_back(user.public_key().blob());
    }
    std::vector<double> ours;
    std::vector<double> floor;
    std::vector<double> ratios;
    for (int round = 0; round < rounds; ++round) {
        LK_TRY(signatures, signatures_per_second(issue.ca.native()));
        LK_TRY(certificates, certificates_per_second(issue));
        ours.push_back(certificates);
        floor.push_back(signatures);
        ratios.push_back(certificates / signatures);
    }
    std::printf("{\"certificates_per_second\": %.0f, \"signatures_per_second\": %.0f, \"ratio\": %.4f}\n",
                median(ours), median(floor), median(ratios));
    return {};
}

} // namespace
} // namespace latchkey::bench

int main(int argc, char** argv) {
    const int rounds = argc > 1 ? std::atoi(argv[1]) : 25;
    const auto done = latchkey::bench::run(std::max(rounds, 1));
    if (done) return 0;
    std::fprintf(stderr, "certificate_rate: %s\n", done.error().line().c_str());
    return 1;
}
