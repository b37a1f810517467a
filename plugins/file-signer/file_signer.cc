// SPDX-License-Identifier: Apache-2.0
#include "plugins/file-signer/file_signer.h"

#include <string>

#include "core/posix/file.h"

namespace latchkey::file_signer {

Result<std::unique_ptr<FileSigner>> FileSigner::open(const sdk::Host& host) {
    LK_CHECK(host.only({"key"}));
    LK_TRY(path, host.required("key"));
    LK_TRY(pem, posix::read_secret_file(path));
    auto key = keys::PrivateKey::from_pem(pem.view());
    if (!key) {
        return fail(key.error().code, "cannot use the CA key in " + path + ": " + key.error().message,
                    key.error().next);
    }
    return std::unique_ptr<FileSigner>(new FileSigner(std::move(*key)));
}

Result<std::vector<Bytes>> FileSigner::public_keys() {
    return std::vector<Bytes>{key_.public_key().blob()};
}

Result<Bytes> FileSigner::sign(ByteView public_key, ByteView data) {
    if (!equal(public_key, key_.public_key().blob())) {
        return fail(Code::kNotFound, "this signer does not hold the CA key that was asked for",
                    "compare: latchkeyd's trusted CA keys with the signer's setting key");
    }
    return key_.sign(data);
}

} // namespace latchkey::file_signer
