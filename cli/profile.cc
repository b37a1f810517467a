// SPDX-License-Identifier: Apache-2.0
#include "cli/profile.h"

#include <pwd.h>
#include <unistd.h>

#include <cstdlib>
#include <sstream>

#include "core/base/names.h"
#include "core/posix/file.h"

namespace latchkey::cli {
namespace {

constexpr std::size_t kProfileLimit = 16 * 1024;

std::filesystem::path home() {
    if (const char* set = std::getenv("HOME"); set != nullptr && *set != '\0') return set;
    const passwd* entry = ::getpwuid(::geteuid());
    return entry == nullptr ? "/" : entry->pw_dir;
}

bool is_host(std::string_view host) {
    return !host.empty() && host.front() != '-' && host.find_first_of(" \t\n'\"\\") == std::string_view::npos;
}

} // namespace

Result<Profile> parse_target(std::string_view target, Profile defaults) {
    if (const auto at = target.find('@'); at != std::string_view::npos) {
        defaults.user = std::string(target.substr(0, at));
        target.remove_prefix(at + 1);
    }
    const auto colon = target.rfind(':');
    const bool is_bare_ipv6 = target.find(':') != colon && target.find(']') == std::string_view::npos;
    if (colon != std::string_view::npos && !is_bare_ipv6) {
        defaults.port = std::string(target.substr(colon + 1));
        target = target.substr(0, colon);
    }
    if (target.size() > 2 && target.front() == '[' && target.back() == ']')
        target = target.substr(1, target.size() - 2);
    if (!target.empty()) defaults.host = std::string(target);
    const bool is_port = !defaults.port.empty() && defaults.port.size() <= 5 &&
                         defaults.port.find_first_not_of("0123456789") == std::string::npos;
    if (!is_host(defaults.host) || !is_port) {
        return fail(Code::kUsage, "that names no broker", "use: latchkey login [user@]broker[:port]");
    }
    if (!defaults.user.empty()) LK_CHECK(UserNameTag::check(defaults.user));
    return defaults;
}

std::filesystem::path profile_file() {
    const char* config = std::getenv("XDG_CONFIG_HOME");
    const std::filesystem::path base = config != nullptr && *config == '/' ? config : home() / ".config";
    return base / "latchkey" / "profile";
}

Result<Profile> read_profile(const std::filesystem::path& file) {
    auto content = posix::read_file(file, kProfileLimit);
    if (!content) {
        return fail(content.error().code, "no broker is known yet",
                    "run: latchkey login [user@]broker[:port]");
    }
    Profile profile;
    std::istringstream lines{std::string(as_text(*content))};
    std::string name;
    std::string value;
    while (lines >> name && std::getline(lines >> std::ws, value)) {
        if (name == "host") profile.host = value;
        if (name == "port") profile.port = value;
        if (name == "user") profile.user = value;
        if (name == "identity") profile.identity = value;
    }
    if (!is_host(profile.host) || profile.identity.empty()) {
        return fail(Code::kMalformed, file.string() + " is damaged",
                    "run: latchkey login [user@]broker[:port]");
    }
    return profile;
}

Status write_profile(const std::filesystem::path& file, const Profile& profile) {
    std::error_code error;
    std::filesystem::create_directories(file.parent_path(), error);
    if (error) return fail(Code::kIo, "cannot make " + file.parent_path().string() + ": " + error.message());
    const std::string text = "host " + profile.host + "\nport " + profile.port + "\nuser " + profile.user +
                             "\nidentity " + profile.identity.string() + "\n";
    return posix::write_file(file, as_bytes(text), 0600);
}

Result<std::filesystem::path> default_identity() {
    for (const char* name : {"id_ed25519", "id_ecdsa", "id_rsa", "id_ed25519_sk", "id_ecdsa_sk"}) {
        const std::filesystem::path identity = home() / ".ssh" / name;
        if (std::filesystem::exists(identity.string() + ".pub")) return identity;
    }
    return fail(Code::kNotFound, "no SSH key in ~/.ssh",
                "run: ssh-keygen -t ed25519, or name one with --identity");
}

} // namespace latchkey::cli
