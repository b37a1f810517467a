// SPDX-License-Identifier: Apache-2.0
#include "core/keys/tls_identity.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>

#include "core/keys/openssl.h"

namespace latchkey::keys {
namespace {

constexpr long kMaxPeerCertificates = 4096; // bytes; ours has about 250

// A self-signed certificate over the identity's key. Its names and dates mean nothing: nobody judges them.
CertificateHandle make_certificate(EVP_PKEY* key) {
    CertificateHandle certificate(X509_new());
    if (!certificate) return nullptr;
    X509* raw = certificate.get();
    X509_NAME* name = X509_get_subject_name(raw);
    const auto* common_name = reinterpret_cast<const unsigned char*>("latchkey");
    const bool good = X509_set_version(raw, X509_VERSION_3) == 1 &&
                      ASN1_INTEGER_set(X509_get_serialNumber(raw), 1) == 1 &&
                      ASN1_TIME_set_string(X509_getm_notBefore(raw), "20000101000000Z") == 1 &&
                      ASN1_TIME_set_string(X509_getm_notAfter(raw), "99991231235959Z") == 1 &&
                      X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, common_name, -1, -1, 0) == 1 &&
                      X509_set_issuer_name(raw, name) == 1 && X509_set_pubkey(raw, key) == 1 &&
                      X509_sign(raw, key, nullptr) > 0;
    return good ? std::move(certificate) : nullptr;
}

bool holds_ed25519(X509* certificate) {
    EVP_PKEY* key = certificate == nullptr ? nullptr : X509_get0_pubkey(certificate);
    return key != nullptr && EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519;
}

// Takes the place of OpenSSL's chain building: one certificate over an ed25519 key, whoever's it is.
int accept_any_ed25519(X509_STORE_CTX* context, void* /*unused*/) {
    const STACK_OF(X509)* untrusted = X509_STORE_CTX_get0_untrusted(context);
    const bool good = holds_ed25519(X509_STORE_CTX_get0_cert(context)) && sk_X509_num(untrusted) <= 1;
    X509_STORE_CTX_set_error(context, good ? X509_V_OK : X509_V_ERR_CERT_REJECTED);
    return good ? 1 : 0;
}

// ALPN as the wire has it: a length byte before the name.
std::array<unsigned char, kHubAlpn.size() + 1> wire_alpn() {
    std::array<unsigned char, kHubAlpn.size() + 1> out{static_cast<unsigned char>(kHubAlpn.size())};
    std::ranges::copy(kHubAlpn, out.begin() + 1);
    return out;
}

int select_alpn(SSL* /*connection*/, const unsigned char** chosen, unsigned char* size,
                const unsigned char* offered, unsigned int offered_size, void* /*unused*/) {
    static const auto ours = wire_alpn();
    unsigned char* match = nullptr;
    const int outcome = SSL_select_next_proto(&match, size, ours.data(),
                                              static_cast<unsigned int>(ours.size()), offered, offered_size);
    if (outcome != OPENSSL_NPN_NEGOTIATED) return SSL_TLSEXT_ERR_ALERT_FATAL;
    *chosen = match;
    return SSL_TLSEXT_ERR_OK;
}

} // namespace

Status configure_tls(ssl_ctx_st* context, TlsSide side, const PrivateKey& identity) {
    if (identity.public_key().type() != KeyType::kEd25519)
        return fail(Code::kUsage, "a TLS identity is an ed25519 key", "make one: ssh-keygen -t ed25519");
    const CertificateHandle certificate = make_certificate(identity.native());
    if (!certificate) return openssl_failure(Code::kInternal, "OpenSSL makes no certificate");

    const auto alpn = wire_alpn();
    const bool good =
        SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) == 1 &&
        SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION) == 1 &&
        SSL_CTX_set1_groups_list(context, "X25519:P-256") == 1 &&
        SSL_CTX_set1_sigalgs_list(context, "ed25519") == 1 &&
        SSL_CTX_set1_client_sigalgs_list(context, "ed25519") == 1 &&
        SSL_CTX_use_certificate(context, certificate.get()) == 1 &&
        SSL_CTX_use_PrivateKey(context, identity.native()) == 1 && SSL_CTX_set_num_tickets(context, 0) == 1 &&
        (side == TlsSide::kServer ||
         SSL_CTX_set_alpn_protos(context, alpn.data(), static_cast<unsigned int>(alpn.size())) == 0);
    if (!good) return openssl_failure(Code::kInternal, "OpenSSL refuses our TLS settings");

    if (side == TlsSide::kServer) SSL_CTX_set_alpn_select_cb(context, select_alpn, nullptr);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
    SSL_CTX_set_cert_verify_callback(context, accept_any_ed25519, nullptr);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_max_cert_list(context, kMaxPeerCertificates);
    return {};
}

Result<RawEd25519> peer_key(ssl_st* connection) {
    const unsigned char* alpn = nullptr;
    unsigned int alpn_size = 0;
    SSL_get0_alpn_selected(connection, &alpn, &alpn_size);
    if (SSL_is_init_finished(connection) != 1 || SSL_version(connection) != TLS1_3_VERSION)
        return fail(Code::kUnauthenticated, "the TLS handshake is not done");
    if (as_text({alpn, alpn_size}) != kHubAlpn)
        return fail(Code::kUnauthenticated, "the peer does not speak latchkey/1");
    X509* certificate = SSL_get0_peer_certificate(connection);
    if (!holds_ed25519(certificate) || SSL_get_verify_result(connection) != X509_V_OK)
        return fail(Code::kUnauthenticated, "the peer shows no ed25519 key");
    RawEd25519 raw{};
    std::size_t size = raw.size();
    if (EVP_PKEY_get_raw_public_key(X509_get0_pubkey(certificate), raw.data(), &size) != 1)
        return openssl_failure(Code::kUnauthenticated, "the peer's key cannot be read");
    return raw;
}

} // namespace latchkey::keys
