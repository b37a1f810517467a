// SPDX-License-Identifier: Apache-2.0
#pragma once
// OpenSSL's handles with their owners, its error queue as an Error of ours, and SHA-256 with the algorithm
// fetched once a process. Any thread. Include it in .cc files only, so that OpenSSL stays out of our headers.

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/x509.h>

#include <array>
#include <string>

#include "core/base/bytes.h"
#include "core/base/result.h"
#include "core/base/unique_handle.h"

namespace latchkey::keys {

using BignumHandle = UniqueHandle<BIGNUM, BN_clear_free>;
using BignumContextHandle = UniqueHandle<BN_CTX, BN_CTX_free>;
using BioHandle = UniqueHandle<BIO, BIO_free_all>;
using CertificateHandle = UniqueHandle<X509, X509_free>;
using DigestContextHandle = UniqueHandle<EVP_MD_CTX, EVP_MD_CTX_free>;
using EcPointHandle = UniqueHandle<EC_POINT, EC_POINT_free>;
using EcdsaSignatureHandle = UniqueHandle<ECDSA_SIG, ECDSA_SIG_free>;
using ParamsHandle = UniqueHandle<OSSL_PARAM, OSSL_PARAM_free>;
using ParamsBuilderHandle = UniqueHandle<OSSL_PARAM_BLD, OSSL_PARAM_BLD_free>;
using PkeyContextHandle = UniqueHandle<EVP_PKEY_CTX, EVP_PKEY_CTX_free>;
using PkeyHandle = UniqueHandle<EVP_PKEY, EVP_PKEY_free>;

// "what: the reason that OpenSSL gives"; its queue is empty afterwards.
Failure openssl_failure(Code code, std::string what);

using Sha256 = std::array<std::uint8_t, 32>;
Sha256 sha256(ByteView data);

BignumHandle to_bignum(ByteView magnitude);
Bytes from_bignum(const BIGNUM* number); // big-endian, no leading zeros; not for secrets

// The parameters that the builder holds, as a key of the named OpenSSL type; EVP_PKEY_PUBLIC_KEY or _KEYPAIR.
PkeyHandle make_pkey(const char* type, int selection, OSSL_PARAM_BLD* builder);

} // namespace latchkey::keys
