// SPDX-License-Identifier: Apache-2.0
#pragma once
// The broker's interfaces over an opened plugin. Each fails with kMalformed where the plugin lacks a function
// that its kind must have.

#include <memory>

#include "broker/plugin_host/instance.h"

namespace latchkey::plugin_host {

Result<std::unique_ptr<Store>> adapt_store(std::shared_ptr<Instance> instance);
Result<std::unique_ptr<Factor>> adapt_factor(std::shared_ptr<Instance> instance);
Result<std::unique_ptr<CaSigner>> adapt_signer(std::shared_ptr<Instance> instance);

} // namespace latchkey::plugin_host
