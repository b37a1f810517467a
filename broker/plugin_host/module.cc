// SPDX-License-Identifier: Apache-2.0
#include "broker/plugin_host/module.h"

#include <dlfcn.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

namespace latchkey::plugin_host {
namespace {

namespace fs = std::filesystem;

bool is_plugin_name(std::string_view name) {
    const auto allowed = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; };
    return !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), allowed);
}

// Owner root or us, and nobody else may write.
Status check_trust(const fs::path& path) {
    struct stat info {};
    if (::stat(path.c_str(), &info) != 0) {
        const int why = errno;
        return fail(why == ENOENT ? Code::kNotFound : Code::kIo,
                    "cannot look at " + path.string() + ": " + std::strerror(why));
    }
    if (info.st_uid != 0 && info.st_uid != ::geteuid()) {
        return fail(Code::kRefused, path.string() + " belongs to another user, who could put code into us",
                    "run: chown root " + path.string());
    }
    if ((info.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
        return fail(Code::kRefused, path.string() + " can be written by its group or by others",
                    "run: chmod go-w " + path.string());
    }
    return {};
}

std::string version_text(std::uint32_t major, std::uint32_t minor) {
    return std::to_string(major) + "." + std::to_string(minor);
}

std::string kind_text(std::uint32_t kind) {
    constexpr const char* kNames[] = {"unknown", "store", "signer", "factor", "audit", "notify", "identity"};
    return kNames[kind < std::size(kNames) ? kind : 0];
}

Failure malformed(const std::string& name, const std::string& what) {
    return fail(Code::kMalformed, "plugin " + name + ": " + what,
                "install the plugin of this Latchkey's version");
}

Status check_version(const Module& module) {
    const lk_plugin& table = module.table;
    if (table.abi_major == LK_ABI_MAJOR && table.abi_minor <= LK_ABI_MINOR) return {};
    return fail(Code::kUnsupported,
                "plugin " + module.name + " is built for ABI " +
                    version_text(table.abi_major, table.abi_minor) + ", this Latchkey has " +
                    version_text(LK_ABI_MAJOR, LK_ABI_MINOR),
                "install the plugin of this Latchkey's version");
}

Status check_table(const Module& module, lk_kind kind) {
    LK_CHECK(check_version(module)); // before any field behind the version is read
    const lk_plugin& table = module.table;
    if (table.kind != static_cast<std::uint32_t>(kind)) {
        return fail(Code::kUnsupported, "plugin " + module.name + " is a " + kind_text(table.kind) +
                                            ", not a " + kind_text(kind));
    }
    if (table.name == nullptr || module.name != table.name) {
        return malformed(module.name, "the file holds a plugin of another name");
    }
    if (table.open == nullptr || table.close == nullptr)
        return malformed(module.name, "it has no open or close");
    if (table.functions == nullptr) return malformed(module.name, "it has no functions of its kind");
    return {};
}

Result<const lk_plugin*> load_table(const fs::path& file, const std::string& name) {
    void* handle = ::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (handle == nullptr) return malformed(name, std::string("it cannot be loaded: ") + ::dlerror());
    void* symbol = ::dlsym(handle, LK_PLUGIN_ENTRY);
    if (symbol == nullptr) return malformed(name, "it does not export " LK_PLUGIN_ENTRY);
    const lk_plugin* table = nullptr;
    try {
        table = reinterpret_cast<lk_plugin_entry>(symbol)();
    } catch (...) {
        return malformed(name, "it threw when asked for its table");
    }
    if (table == nullptr) return malformed(name, "it returns no table");
    if (table->size < offsetof(lk_plugin, kind)) return malformed(name, "its table is too short");
    return table;
}

} // namespace

void copy_table(void* target, std::size_t target_size, const void* source) {
    std::uint32_t size = 0;
    std::memcpy(&size, source, sizeof size);
    std::memset(target, 0, target_size);
    std::memcpy(target, source, std::min<std::size_t>(size, target_size));
}

Status check_complete(const Module& module, bool has_all) {
    if (has_all) return {};
    return malformed(module.name, "it lacks a function that its kind must have");
}

Result<fs::path> check_file(const fs::path& folder, std::string_view name) {
    if (!is_plugin_name(name)) {
        return fail(Code::kConfig, "a plugin's name may hold a to z, 0 to 9 and - alone");
    }
    std::error_code error;
    const fs::path real_folder = fs::canonical(folder, error);
    if (error) return fail(Code::kNotFound, "there is no plugin folder " + folder.string());
    const fs::path named = folder / (std::string(name) + ".so");
    const fs::path file = fs::canonical(named, error);
    if (error) return fail(Code::kNotFound, "there is no plugin " + named.string(), "install it there");
    if (file.parent_path() != real_folder) {
        return fail(Code::kRefused, "plugin " + named.string() + " leads out of its folder",
                    "put the file itself there");
    }
    LK_CHECK(check_trust(real_folder));
    LK_CHECK(check_trust(file));
    return file;
}

Result<Module> load_module(const fs::path& folder, std::string_view name, lk_kind kind) {
    LK_TRY(file, check_file(folder, name));
    Module module{.name = std::string(name)};
    LK_TRY(theirs, load_table(file, module.name));
    copy_table(&module.table, sizeof module.table, theirs);
    LK_CHECK(check_table(module, kind));
    return module;
}

} // namespace latchkey::plugin_host
