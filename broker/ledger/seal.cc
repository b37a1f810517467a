// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/seal.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#include <string>

#include "core/keys/openssl.h"
#include "core/wire/writer.h"

namespace latchkey::ledger {
namespace {

using CipherHandle = UniqueHandle<EVP_CIPHER, EVP_CIPHER_free>;
using CipherContextHandle = UniqueHandle<EVP_CIPHER_CTX, EVP_CIPHER_CTX_free>;
using KdfHandle = UniqueHandle<EVP_KDF, EVP_KDF_free>;
using KdfContextHandle = UniqueHandle<EVP_KDF_CTX, EVP_KDF_CTX_free>;
using MacHandle = UniqueHandle<EVP_MAC, EVP_MAC_free>;
using MacContextHandle = UniqueHandle<EVP_MAC_CTX, EVP_MAC_CTX_free>;

constexpr std::uint8_t kFormat = 1; // byte format, 12 bytes nonce, ciphertext, 16 bytes tag
constexpr std::size_t kNonceSize = 12;
constexpr std::size_t kTagSize = 16;
constexpr std::size_t kSealedLimit = 1024 * 1024;

// string label, string table, uint64 id, uint64 version, string content: one reading only.
Bytes encode(std::string_view label, const RowName& row, ByteView content) {
    wire::Writer writer;
    writer.reserve(label.size() + row.table.size() + content.size() + 32);
    writer.string(label);
    writer.string(row.table);
    writer.u64(row.id);
    writer.u64(row.version);
    writer.string(content);
    return writer.take();
}

Result<SecretBytes> derive(const SecretBytes& data_key, std::string_view purpose) {
    SecretBytes key(Sealer::kDataKeySize);
    const KdfHandle kdf(EVP_KDF_fetch(nullptr, "HKDF", nullptr));
    const KdfContextHandle context(kdf ? EVP_KDF_CTX_new(kdf.get()) : nullptr);
    if (!context) return keys::openssl_failure(Code::kInternal, "no HKDF");
    char digest[] = "SHA256";
    const OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY,
                                          const_cast<std::uint8_t*>(data_key.view().data()), data_key.size()),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, const_cast<char*>(purpose.data()),
                                          purpose.size()),
        OSSL_PARAM_construct_end()};
    if (EVP_KDF_derive(context.get(), key.writable().data(), key.size(), parameters) != 1) {
        return keys::openssl_failure(Code::kInternal, "cannot derive a key");
    }
    return key;
}

int as_int(std::size_t size) {
    return static_cast<int>(size);
}

} // namespace

struct Sealer::State {
    SecretBytes sealing_key;
    CipherHandle cipher;
    MacContextHandle mac; // keyed; each use is a copy of it
};

Sealer::Sealer(std::unique_ptr<State> state) : state_(std::move(state)) {}
Sealer::Sealer(Sealer&&) noexcept = default;
Sealer::~Sealer() = default;

Result<Sealer> Sealer::make(const SecretBytes& data_key) {
    if (data_key.size() != kDataKeySize) {
        return fail(Code::kConfig, "the data key is not 32 bytes long",
                    "point data_key at the file that latchkeyd init made");
    }
    auto state = std::make_unique<State>();
    LK_TRY(sealing_key, derive(data_key, "latchkey-seal-v1"));
    LK_TRY(mac_key, derive(data_key, "latchkey-row-mac-v1"));
    state->sealing_key = std::move(sealing_key);
    state->cipher.reset(EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr));
    const MacHandle algorithm(EVP_MAC_fetch(nullptr, "HMAC", nullptr));
    if (!state->cipher || !algorithm) return keys::openssl_failure(Code::kInternal, "no AES-GCM or HMAC");
    state->mac.reset(EVP_MAC_CTX_new(algorithm.get()));
    char digest[] = "SHA256";
    const OSSL_PARAM parameters[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                                     OSSL_PARAM_construct_end()};
    if (!state->mac ||
        EVP_MAC_init(state->mac.get(), mac_key.view().data(), mac_key.size(), parameters) != 1) {
        return keys::openssl_failure(Code::kInternal, "cannot set up HMAC");
    }
    return Sealer(std::move(state));
}

// Where OpenSSL itself fails the MAC is all zeros, which fits() never takes.
Sealer::Mac Sealer::mac(const RowName& row, ByteView content) const {
    const Bytes covered = encode("latchkey-row-v1", row, content);
    const MacContextHandle context(EVP_MAC_CTX_dup(state_->mac.get()));
    Mac made{};
    std::size_t size = 0;
    if (!context || EVP_MAC_update(context.get(), covered.data(), covered.size()) != 1 ||
        EVP_MAC_final(context.get(), made.data(), &size, made.size()) != 1 || size != made.size()) {
        return Mac{};
    }
    return made;
}

bool Sealer::fits(const RowName& row, ByteView content, ByteView stored) const {
    const Mac expected = mac(row, content);
    return expected != Mac{} && stored.size() == expected.size() && equal_secret(expected, stored);
}

Result<Bytes> Sealer::seal(const RowName& row, ByteView content, ByteView secret) const {
    if (secret.size() > kSealedLimit) return fail(Code::kTooLarge, "a secret over 1 MiB");
    const Bytes bound = encode("latchkey-sealed-v1", row, content);
    Bytes sealed(1 + kNonceSize + secret.size() + kTagSize);
    sealed[0] = kFormat;
    std::uint8_t* const nonce = sealed.data() + 1;
    std::uint8_t* const body = nonce + kNonceSize;
    const CipherContextHandle context(EVP_CIPHER_CTX_new());
    int size = 0;
    if (!context || RAND_bytes(nonce, as_int(kNonceSize)) != 1 ||
        EVP_EncryptInit_ex2(context.get(), state_->cipher.get(), state_->sealing_key.view().data(), nonce,
                            nullptr) != 1 ||
        EVP_EncryptUpdate(context.get(), nullptr, &size, bound.data(), as_int(bound.size())) != 1 ||
        EVP_EncryptUpdate(context.get(), body, &size, secret.data(), as_int(secret.size())) != 1 ||
        EVP_EncryptFinal_ex(context.get(), body + size, &size) != 1 ||
        EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_GET_TAG, as_int(kTagSize), body + secret.size()) !=
            1) {
        return keys::openssl_failure(Code::kInternal, "cannot seal a secret");
    }
    return sealed;
}

Result<SecretBytes> Sealer::open(const RowName& row, ByteView content, ByteView sealed) const {
    const auto refusal = [&] {
        return fail(Code::kTampered,
                    "a secret of table " + std::string(row.table) + " does not fit its row or the data key");
    };
    if (sealed.size() < 1 + kNonceSize + kTagSize || sealed.size() > kSealedLimit + 64 ||
        sealed[0] != kFormat)
        return refusal();
    const Bytes bound = encode("latchkey-sealed-v1", row, content);
    const ByteView nonce = sealed.subspan(1, kNonceSize);
    const ByteView body = sealed.subspan(1 + kNonceSize, sealed.size() - 1 - kNonceSize - kTagSize);
    Bytes tag = to_bytes(sealed.last(kTagSize));
    SecretBytes secret(body.size());
    const CipherContextHandle context(EVP_CIPHER_CTX_new());
    int size = 0;
    if (!context ||
        EVP_DecryptInit_ex2(context.get(), state_->cipher.get(), state_->sealing_key.view().data(),
                            nonce.data(), nullptr) != 1 ||
        EVP_DecryptUpdate(context.get(), nullptr, &size, bound.data(), as_int(bound.size())) != 1 ||
        EVP_DecryptUpdate(context.get(), secret.writable().data(), &size, body.data(), as_int(body.size())) !=
            1 ||
        EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_SET_TAG, as_int(kTagSize), tag.data()) != 1) {
        return keys::openssl_failure(Code::kInternal, "cannot open a sealed secret");
    }
    std::uint8_t nothing = 0;
    if (EVP_DecryptFinal_ex(context.get(), &nothing, &size) != 1) return refusal();
    return secret;
}

} // namespace latchkey::ledger
