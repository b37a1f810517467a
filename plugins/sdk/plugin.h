// SPDX-License-Identifier: Apache-2.0
#pragma once
// The C++ wrapper over latchkey_plugin.h, header-only: derive from StorePlugin, SignerPlugin or FactorPlugin,
// give the class `static Result<std::unique_ptr<T>> open(const sdk::Host&)`, and end one source file with
// LK_PLUGIN(T, "name", "version"). No exception leaves it.

#include <type_traits>

#include "plugins/sdk/factor.h"
#include "plugins/sdk/host.h"
#include "plugins/sdk/signer.h"
#include "plugins/sdk/store.h"

namespace latchkey::sdk::seam {

template <class Plugin>
lk_plugin make_table(const char* name, const char* version) {
    lk_plugin table{};
    table.size = sizeof(lk_plugin);
    table.abi_major = LK_ABI_MAJOR;
    table.abi_minor = LK_ABI_MINOR;
    table.name = name;
    table.version = version;
    const auto as = [&]<class Base>(lk_kind kind, const void* functions, std::type_identity<Base>) {
        table.kind = kind;
        table.functions = functions;
        table.open = open_instance<Plugin, Base>;
        table.close = close_instance<Base>;
    };
    if constexpr (std::is_base_of_v<StorePlugin, Plugin>) {
        as(LK_KIND_STORE, store_functions<Plugin>(), std::type_identity<StorePlugin>{});
    } else if constexpr (std::is_base_of_v<SignerPlugin, Plugin>) {
        as(LK_KIND_SIGNER, signer_functions(), std::type_identity<SignerPlugin>{});
    } else {
        static_assert(std::is_base_of_v<FactorPlugin, Plugin>, "derive from a plugin class of the SDK");
        as(LK_KIND_FACTOR, factor_functions(), std::type_identity<FactorPlugin>{});
    }
    return table;
}

} // namespace latchkey::sdk::seam

#define LK_PLUGIN(Type, plugin_name, plugin_version)                                                         \
    extern "C" LK_PLUGIN_EXPORT const lk_plugin* latchkey_plugin(void) {                                     \
        static const lk_plugin table = ::latchkey::sdk::seam::make_table<Type>(plugin_name, plugin_version); \
        return &table;                                                                                       \
    }
