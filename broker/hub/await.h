// SPDX-License-Identifier: Apache-2.0
#pragma once
// How the hub awaits Asio's operations: `auto [error, …] = co_await x.async_…(…, kAwait)`. Include in .cc
// files only.

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace latchkey::hub {

inline constexpr auto kAwait = boost::asio::as_tuple(boost::asio::use_awaitable);

} // namespace latchkey::hub
