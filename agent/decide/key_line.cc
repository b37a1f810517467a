// SPDX-License-Identifier: Apache-2.0
#include "agent/decide/key_line.h"

#include <algorithm>
#include <array>
#include <ctime>

namespace latchkey::agent {
namespace {

struct Permission {
    std::string_view option;    // in authorized_keys
    std::string_view extension; // in the certificate
};
constexpr std::array kPermissions = {
    Permission{"pty", "permit-pty"},
    Permission{"port-forwarding", "permit-port-forwarding"},
    Permission{"agent-forwarding", "permit-agent-forwarding"},
    Permission{"X11-forwarding", "permit-X11-forwarding"},
    Permission{"user-rc", "permit-user-rc"},
};

const cert::Option* find_option(const std::vector<cert::Option>& options, std::string_view name) {
    const auto found = std::ranges::find(options, name, &cert::Option::name);
    return found == options.end() ? nullptr : &*found;
}

// sshd knows one escape, \" for a quote; control characters would end the line, and a last backslash would
// swallow the closing quote.
Result<std::string> quoted(std::string_view text) {
    std::string out = "\"";
    for (const char c : text) {
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
            return fail(Code::kMalformed, "an option with a control character in it");
        if (c == '"') out += '\\';
        out += c;
    }
    if (!text.empty() && text.back() == '\\')
        return fail(Code::kMalformed, "an option that ends in a backslash, which sshd cannot read");
    return out + "\"";
}

// Each entry of the one comma-separated list stands in the other.
bool is_within(std::string_view list, std::string_view whole) {
    const std::string fenced = "," + std::string(whole) + ",";
    while (!list.empty()) {
        const std::size_t comma = std::min(list.find(','), list.size());
        if (fenced.find("," + std::string(list.substr(0, comma)) + ",") == std::string::npos) return false;
        list.remove_prefix(std::min(comma + 1, list.size()));
    }
    return true;
}

// Both the rule and the certificate may constrain; two different values cannot be joined in one option.
Result<std::string> joined(const std::string& of_rule, const cert::Option* of_certificate,
                           std::string_view what) {
    if (of_certificate == nullptr || of_certificate->value == of_rule) return of_rule;
    if (of_rule.empty()) return of_certificate->value;
    return fail(Code::kConflict, "rule and certificate each have their own " + std::string(what));
}

std::string expiry(Micros wall) {
    const std::time_t seconds = std::max<std::int64_t>(wall.seconds(), 0);
    std::tm parts{};
    std::array<char, 32> text{};
    if (::gmtime_r(&seconds, &parts) == nullptr) return "19700101000001Z";
    return {text.data(), std::strftime(text.data(), text.size(), "%Y%m%d%H%M%SZ", &parts)};
}

Result<std::string> one_line(const Login& login, const cert::Certificate& certificate,
                             const protocol::GrantLine& rule, bool certificate_offered, Micros ends_at_wall) {
    const cert::Content& content = certificate.content();
    std::string out;
    out.reserve(1024);
    if (certificate_offered) out += "cert-authority,principals=\"" + login.str() + "\",";
    out += "restrict";
    for (const Permission& permission : kPermissions) {
        const bool by_rule = std::ranges::find(rule.allow, permission.option) != rule.allow.end();
        if (by_rule && find_option(content.extensions, permission.extension) != nullptr)
            out.append(",").append(permission.option);
    }
    // A certificate names the networks of all its user's rules; one rule's own are the narrower bound.
    const cert::Option* networks = find_option(content.critical_options, "source-address");
    const bool is_narrower =
        networks != nullptr && !rule.from.empty() && is_within(rule.from, networks->value);
    LK_TRY(from, joined(rule.from, is_narrower ? nullptr : networks, "from="));
    if (!from.empty()) {
        LK_TRY(text, quoted(from));
        out += ",from=" + text;
    }
    LK_TRY(command, joined(rule.command, find_option(content.critical_options, "force-command"), "command="));
    if (!command.empty()) {
        LK_TRY(text, quoted(command));
        out += ",command=" + text;
    }
    out += ",expiry-time=\"" + expiry(ends_at_wall) + "\"";
    if (rule.verify_required || find_option(content.critical_options, "verify-required") != nullptr)
        out += ",verify-required";
    return out + " " + (certificate_offered ? certificate.ca() : content.subject).line();
}

} // namespace

KeyLines key_lines(const VerifiedGrant& grant, bool certificate_offered, Micros ends_at_wall) {
    KeyLines out;
    const auto certificate = cert::Certificate::from_blob(grant.certificate);
    if (!certificate) return {{}, certificate.error().message};
    for (const protocol::GrantLine& rule : grant.lines) {
        auto line = one_line(grant.login, *certificate, rule, certificate_offered, ends_at_wall);
        if (line) {
            out.lines.push_back(*std::move(line));
        } else {
            out.why_none = line.error().message;
        }
    }
    return out;
}

} // namespace latchkey::agent
