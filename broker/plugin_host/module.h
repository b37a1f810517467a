// SPDX-License-Identifier: Apache-2.0
#pragma once
// A plugin's file, checked and loaded: the first half of what Loader does. The file is judged before dlopen
// runs anything of it; the table is judged before anything in it is called. Never unloaded. Any thread.

#include <filesystem>
#include <string>
#include <string_view>

#include "core/base/result.h"
#include "plugins/sdk/latchkey_plugin.h"

namespace latchkey::plugin_host {

struct Module {
    std::string name;
    lk_plugin table{}; // a zeroed table of ours with min(size) of the plugin's copied in
};

// The path of FOLDER/NAME.so. kConfig for a name outside [a-z0-9-]+, kNotFound where there is none, kRefused
// where its place, owner or mode would let another user put code into us.
Result<std::filesystem::path> check_file(const std::filesystem::path& folder, std::string_view name);

// kUnsupported: another major, a newer minor, another kind than asked for. kMalformed: no plugin, a table
// that is too short or lacks what it must have.
Result<Module> load_module(const std::filesystem::path& folder, std::string_view name, lk_kind kind);

// min(size) of `source`, which begins with its own size, into zeroed memory.
void copy_table(void* target, std::size_t target_size, const void* source);

// The functions of its kind (lk_store, …) in a zeroed table of ours: what the plugin lacks is null.
template <class Functions>
Functions functions_of(const Module& module) {
    Functions functions{};
    copy_table(&functions, sizeof functions, module.table.functions);
    return functions;
}

// kMalformed for a plugin that lacks a function which its kind must have.
Status check_complete(const Module& module, bool has_all);

} // namespace latchkey::plugin_host
