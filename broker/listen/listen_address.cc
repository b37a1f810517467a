// SPDX-License-Identifier: Apache-2.0
#include "broker/listen/listen_address.h"

#include <boost/asio/ip/address.hpp>
#include <charconv>

namespace latchkey {

Result<boost::asio::ip::tcp::endpoint> parse_listen_address(std::string_view setting, const std::string& text,
                                                            std::string_view example) {
    const auto colon = text.rfind(':');
    std::string host = text.substr(0, colon);
    if (host.size() > 1 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
    const std::string digits = colon == std::string::npos ? "" : text.substr(colon + 1);
    std::uint16_t port = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
    boost::system::error_code bad_address;
    const auto address = boost::asio::ip::make_address(host, bad_address);
    if (bad_address || digits.empty() || error != std::errc() || end != digits.data() + digits.size()) {
        return fail(Code::kConfig, std::string(setting) + " '" + text + "' is no address and port",
                    "write it like " + std::string(example));
    }
    return boost::asio::ip::tcp::endpoint(address, port);
}

} // namespace latchkey
