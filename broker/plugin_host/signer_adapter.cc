// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "broker/plugin_host/adapters.h"

namespace latchkey::plugin_host {
namespace {

constexpr std::size_t kMostKeys = 64;

std::int32_t collect(void* context, std::uint32_t field, lk_bytes value) noexcept try {
    auto& values = *static_cast<std::vector<Bytes>*>(context);
    if (field != LK_FIELD_VALUE) return LK_OK;
    if (values.size() >= kMostKeys || value.size > keys::kMaxBlobSize) return LK_ERROR_TOO_LARGE;
    values.push_back(to_bytes(view(value)));
    return LK_OK;
} catch (...) {
    return LK_ERROR_INTERNAL;
}

class PluginSigner : public CaSigner {
public:
    PluginSigner(std::shared_ptr<Instance> instance, const lk_signer& functions)
        : instance_(std::move(instance)), functions_(functions) {}

    Result<std::vector<keys::PublicKey>> public_keys() override {
        std::vector<Bytes> blobs;
        const lk_sink sink{&blobs, collect};
        LK_CHECK(instance_->guarded(
            [&](lk_error* error) { return functions_.public_keys(instance_->raw(), &sink, error); }));
        std::vector<keys::PublicKey> keys;
        for (const Bytes& blob : blobs) {
            LK_TRY(key, keys::PublicKey::from_blob(blob));
            keys.push_back(std::move(key));
        }
        return keys;
    }

    Result<Bytes> sign(const keys::PublicKey& key, ByteView data) override {
        std::vector<Bytes> signatures;
        const lk_sink sink{&signatures, collect};
        LK_CHECK(instance_->guarded([&](lk_error* error) {
            return functions_.sign(instance_->raw(), lend(ByteView(key.blob())), lend(data), &sink, error);
        }));
        if (signatures.size() != 1) {
            return fail(Code::kInternal, "plugin " + instance_->name() + " did not return one signature");
        }
        return std::move(signatures.front());
    }

private:
    std::shared_ptr<Instance> instance_;
    const lk_signer functions_;
};

} // namespace

Result<std::unique_ptr<CaSigner>> adapt_signer(std::shared_ptr<Instance> instance) {
    const auto functions = functions_of<lk_signer>(instance->module());
    LK_CHECK(check_complete(instance->module(), functions.public_keys && functions.sign));
    return std::unique_ptr<CaSigner>(std::make_unique<PluginSigner>(std::move(instance), functions));
}

} // namespace latchkey::plugin_host
