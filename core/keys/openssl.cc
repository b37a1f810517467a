// SPDX-License-Identifier: Apache-2.0
#include "core/keys/openssl.h"

#include <openssl/err.h>

#include <algorithm>

namespace latchkey::keys {

Failure openssl_failure(Code code, std::string what) {
    const char* reason = ERR_reason_error_string(ERR_peek_last_error());
    if (reason != nullptr) what += std::string(": ") + reason;
    ERR_clear_error();
    return fail(code, std::move(what));
}

Sha256 sha256(ByteView data) {
    static EVP_MD* const algorithm = EVP_MD_fetch(nullptr, "SHA256", nullptr); // lives as long as the process
    Sha256 digest{};
    EVP_Digest(data.data(), data.size(), digest.data(), nullptr, algorithm, nullptr);
    return digest;
}

BignumHandle to_bignum(ByteView magnitude) {
    return BignumHandle(BN_bin2bn(magnitude.data(), static_cast<int>(magnitude.size()), nullptr));
}

Bytes from_bignum(const BIGNUM* number) {
    Bytes magnitude(static_cast<std::size_t>(BN_num_bytes(number)));
    BN_bn2bin(number, magnitude.data());
    return magnitude;
}

PkeyHandle make_pkey(const char* type, int selection, OSSL_PARAM_BLD* builder) {
    const ParamsHandle params(OSSL_PARAM_BLD_to_param(builder));
    const PkeyContextHandle context(EVP_PKEY_CTX_new_from_name(nullptr, type, nullptr));
    EVP_PKEY* pkey = nullptr;
    if (!params || !context || EVP_PKEY_fromdata_init(context.get()) != 1 ||
        EVP_PKEY_fromdata(context.get(), &pkey, selection, params.get()) != 1) {
        return nullptr;
    }
    return PkeyHandle(pkey);
}

} // namespace latchkey::keys
