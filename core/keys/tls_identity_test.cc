// SPDX-License-Identifier: Apache-2.0
// Real handshakes between two OpenSSL connections over a pair of memory BIOs.
#include "core/keys/tls_identity.h"

#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <functional>

#include "core/keys/openssl.h"

namespace latchkey::keys {
namespace {

using ContextHandle = UniqueHandle<SSL_CTX, SSL_CTX_free>;
using ConnectionHandle = UniqueHandle<SSL, SSL_free>;

RawEd25519 raw_of(const PrivateKey& key) {
    RawEd25519 raw{};
    std::ranges::copy(key.public_key().raw_ed25519(), raw.begin());
    return raw;
}

PrivateKey new_key() {
    return *PrivateKey::generate(KeyType::kEd25519);
}

ContextHandle ours(TlsSide side, const PrivateKey& key) {
    ContextHandle context(SSL_CTX_new(TLS_method()));
    EXPECT_TRUE(configure_tls(context.get(), side, key));
    return context;
}

struct Meeting {
    ConnectionHandle client;
    ConnectionHandle server;
    bool is_done = false;
};

// Both sides in turn until both are done or one fails.
Meeting meet(SSL_CTX* client_context, SSL_CTX* server_context) {
    Meeting meeting{ConnectionHandle(SSL_new(client_context)), ConnectionHandle(SSL_new(server_context))};
    BIO* near_end = nullptr;
    BIO* far_end = nullptr;
    BIO_new_bio_pair(&near_end, 0, &far_end, 0);
    SSL_set_bio(meeting.client.get(), near_end, near_end);
    SSL_set_bio(meeting.server.get(), far_end, far_end);
    SSL_set_connect_state(meeting.client.get());
    SSL_set_accept_state(meeting.server.get());
    for (int round = 0; round < 20 && !meeting.is_done; ++round) {
        bool done = true;
        for (SSL* side : {meeting.client.get(), meeting.server.get()}) {
            const int outcome = SSL_do_handshake(side);
            if (outcome == 1) continue;
            done = false;
            if (SSL_get_error(side, outcome) != SSL_ERROR_WANT_READ) {
                ERR_clear_error();
                return meeting;
            }
        }
        meeting.is_done = done;
    }
    return meeting;
}

TEST(TlsIdentity, LetsEachSideReadTheOthersKey) {
    const PrivateKey agent = new_key();
    const PrivateKey broker = new_key();
    const ContextHandle client = ours(TlsSide::kClient, agent);
    const ContextHandle server = ours(TlsSide::kServer, broker);
    const Meeting meeting = meet(client.get(), server.get());
    ASSERT_TRUE(meeting.is_done);
    EXPECT_EQ(*peer_key(meeting.client.get()), raw_of(broker));
    EXPECT_EQ(*peer_key(meeting.server.get()), raw_of(agent));
    EXPECT_STREQ(SSL_get_version(meeting.client.get()), "TLSv1.3");

    ASSERT_EQ(SSL_write(meeting.client.get(), "hello", 5), 5);
    char text[8] = {};
    EXPECT_EQ(SSL_read(meeting.server.get(), text, sizeof text), 5);
    EXPECT_STREQ(text, "hello");
}

TEST(TlsIdentity, ShowsAWrongPinAsAnotherKey) {
    const PrivateKey broker = new_key();
    const PrivateKey impostor = new_key();
    const ContextHandle client = ours(TlsSide::kClient, new_key());
    const ContextHandle server = ours(TlsSide::kServer, impostor);
    const Meeting meeting = meet(client.get(), server.get());
    ASSERT_TRUE(meeting.is_done);
    EXPECT_NE(*peer_key(meeting.client.get()), raw_of(broker));
    EXPECT_EQ(*peer_key(meeting.client.get()), raw_of(impostor));
}

TEST(TlsIdentity, GivesNoKeyBeforeTheHandshakeIsDone) {
    const ContextHandle client = ours(TlsSide::kClient, new_key());
    const ConnectionHandle fresh(SSL_new(client.get()));
    EXPECT_EQ(peer_key(fresh.get()).error().code, Code::kUnauthenticated);
}

// A client of stock settings, to which each test adds what it does wrong.
ContextHandle stranger(const std::function<void(SSL_CTX*)>& set) {
    ContextHandle context(SSL_CTX_new(TLS_method()));
    set(context.get());
    return context;
}

void offer_alpn(SSL_CTX* context, std::string_view name) {
    std::string wire(1, static_cast<char>(name.size()));
    wire += name;
    SSL_CTX_set_alpn_protos(context, reinterpret_cast<const unsigned char*>(wire.data()),
                            static_cast<unsigned>(wire.size()));
}

// The same settings as ours but for what the test then changes.
bool server_accepts(const std::function<void(SSL_CTX*)>& change) {
    const ContextHandle client = ours(TlsSide::kClient, new_key());
    const ContextHandle server = ours(TlsSide::kServer, new_key());
    change(client.get());
    const Meeting meeting = meet(client.get(), server.get());
    return meeting.is_done && peer_key(meeting.server.get()).has_value();
}

TEST(TlsIdentity, RefusesAClientWithoutACertificate) {
    const ContextHandle client = stranger([](SSL_CTX* context) { offer_alpn(context, kHubAlpn); });
    const ContextHandle server = ours(TlsSide::kServer, new_key());
    EXPECT_FALSE(meet(client.get(), server.get()).is_done);
}

TEST(TlsIdentity, RefusesAWrongAlpnAndNone) {
    EXPECT_TRUE(server_accepts([](SSL_CTX*) {}));
    EXPECT_FALSE(server_accepts([](SSL_CTX* context) { offer_alpn(context, "latchkey/2"); }));
    EXPECT_FALSE(server_accepts([](SSL_CTX* context) { offer_alpn(context, "h2"); }));
    EXPECT_FALSE(server_accepts([](SSL_CTX* context) { SSL_CTX_set_alpn_protos(context, nullptr, 0); }));
}

TEST(TlsIdentity, RefusesAServerThatChoosesNoAlpn) {
    const ContextHandle client = ours(TlsSide::kClient, new_key());
    const ContextHandle server = ours(TlsSide::kServer, new_key());
    SSL_CTX_set_alpn_select_cb(server.get(), nullptr, nullptr);
    const Meeting meeting = meet(client.get(), server.get());
    ASSERT_TRUE(meeting.is_done);
    EXPECT_EQ(peer_key(meeting.client.get()).error().code, Code::kUnauthenticated);
}

TEST(TlsIdentity, RefusesTls12) {
    EXPECT_FALSE(server_accepts([](SSL_CTX* context) {
        SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
        SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION);
    }));
}

// A certificate over a key of another type, self-signed as ours is.
void show_certificate(SSL_CTX* context, EVP_PKEY* key, const EVP_MD* digest) {
    const CertificateHandle certificate(X509_new());
    ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate.get()), 0);
    X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 1000);
    X509_set_pubkey(certificate.get(), key);
    X509_sign(certificate.get(), key, digest);
    SSL_CTX_use_certificate(context, certificate.get());
    SSL_CTX_use_PrivateKey(context, key);
}

// Settings that fit ours in all but the key's type; the peer's list of algorithms is opened, so that the key
// alone decides.
TEST(TlsIdentity, RefusesAKeyThatIsNotEd25519) {
    const PkeyHandle ecdsa(EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256"));
    const PrivateKey ed25519 = new_key();
    for (const bool is_ed25519 : {true, false}) {
        const auto show = [&](SSL_CTX* context) {
            offer_alpn(context, kHubAlpn);
            if (is_ed25519)
                show_certificate(context, ed25519.native(), nullptr);
            else
                show_certificate(context, ecdsa.get(), EVP_sha256());
        };
        const ContextHandle foreign = stranger(show);
        const ContextHandle server = ours(TlsSide::kServer, new_key());
        SSL_CTX_set1_sigalgs_list(server.get(), "ECDSA+SHA256:ed25519");
        SSL_CTX_set1_client_sigalgs_list(server.get(), "ECDSA+SHA256:ed25519");
        EXPECT_EQ(meet(foreign.get(), server.get()).is_done, is_ed25519);
        const ContextHandle client = ours(TlsSide::kClient, new_key());
        SSL_CTX_set1_sigalgs_list(client.get(), "ECDSA+SHA256:ed25519");
        EXPECT_EQ(meet(client.get(), foreign.get()).is_done, is_ed25519);
        // With our own lists it does not come so far.
        const ContextHandle strict = ours(TlsSide::kServer, new_key());
        EXPECT_EQ(meet(foreign.get(), strict.get()).is_done, is_ed25519);
    }
}

TEST(TlsIdentity, RefusesACertificateWhoseKeyThePeerDoesNotHold) {
    // The victim's certificate, as anybody has seen it, with another's private key: OpenSSL itself does not
    // let a context hold that pair, so the handshake has no certificate to show.
    const PrivateKey victim = new_key();
    const ContextHandle theirs = ours(TlsSide::kClient, victim);
    X509* stolen = SSL_CTX_get0_certificate(theirs.get());
    EXPECT_FALSE(server_accepts([&](SSL_CTX* context) {
        const PrivateKey thief = new_key();
        SSL_CTX_use_certificate(context, stolen);
        EXPECT_EQ(SSL_CTX_use_PrivateKey(context, thief.native()), 0);
        ERR_clear_error();
    }));
}

TEST(TlsIdentity, RefusesAnIdentityThatIsNotEd25519) {
    const ContextHandle context(SSL_CTX_new(TLS_method()));
    const PrivateKey ecdsa = *PrivateKey::generate(KeyType::kEcdsa256);
    EXPECT_EQ(configure_tls(context.get(), TlsSide::kServer, ecdsa).error().code, Code::kUsage);
}

TEST(TlsIdentity, KeepsNoBuffersForAConnectionThatIsIdle) {
    const PrivateKey key = new_key();
    for (const TlsSide side : {TlsSide::kServer, TlsSide::kClient}) {
        const ContextHandle context = ours(side, key);
        EXPECT_NE(SSL_CTX_get_mode(context.get()) & SSL_MODE_RELEASE_BUFFERS, 0) << "30 KiB for each agent";
    }
}

TEST(TlsIdentity, GivesNoSessionToResume) {
    const ContextHandle client = ours(TlsSide::kClient, new_key());
    const ContextHandle server = ours(TlsSide::kServer, new_key());
    const Meeting first = meet(client.get(), server.get());
    ASSERT_TRUE(first.is_done);
    EXPECT_EQ(SSL_SESSION_is_resumable(SSL_get_session(first.client.get())), 0);
}

} // namespace
} // namespace latchkey::keys
