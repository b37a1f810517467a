// SPDX-License-Identifier: Apache-2.0
#pragma once
// Where to listen, as a configuration says it: "127.0.0.1:9464", "[::]:7443". Pure; any thread.

#include <boost/asio/ip/tcp.hpp>
#include <string>
#include <string_view>

#include "core/base/result.h"

namespace latchkey {

// kConfig, naming the setting and an example to write instead: no IP address, or no port up to 65535.
Result<boost::asio::ip::tcp::endpoint> parse_listen_address(std::string_view setting, const std::string& text,
                                                            std::string_view example);

} // namespace latchkey
