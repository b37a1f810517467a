// SPDX-License-Identifier: Apache-2.0
#pragma once
// TLS with SSH identities: each side shows a self-signed X.509 over its own ed25519 SSH key and pins the
// other's 32 raw public bytes. No names, no authorities, no dates judged: the key is the identity. Both
// functions set up an OpenSSL SSL_CTX for TLS 1.3 only, ALPN "latchkey/1", no tickets, no renegotiation,
// RELEASE_BUFFERS; the caller owns the context and its thread.

#include <array>
#include <cstdint>
#include <string_view>

#include "core/base/result.h"
#include "core/keys/private_key.h"

struct ssl_ctx_st;
struct ssl_st;

namespace latchkey::keys {

inline constexpr std::string_view kHubAlpn = "latchkey/1";

using RawEd25519 = std::array<std::uint8_t, 32>;

enum class TlsSide : std::uint8_t { kServer = 1, kClient };

// Gives the context our certificate and key and demands one ed25519 certificate of the peer, whose proof of
// possession TLS itself checks; *who* it is, the caller asks with peer_key() after the handshake, before any
// byte.
Status configure_tls(ssl_ctx_st* context, TlsSide side, const PrivateKey& identity);

// After the handshake: the peer's raw key. kUnauthenticated where there is none, it is not ed25519, or ALPN
// differs.
Result<RawEd25519> peer_key(ssl_st* connection);

} // namespace latchkey::keys
