// SPDX-License-Identifier: Apache-2.0
#pragma once
// The control socket between latchkeyd and the signer that it started: a pair of SOCK_SEQPACKET sockets over
// which descriptors travel, one a message of one byte. Blocking; any thread.

#include "core/base/result.h"
#include "core/base/unique_handle.h"

namespace latchkey::signer {

inline constexpr int kControlFd = 3; // in the child

struct SocketPair {
    UniqueFd ours;
    UniqueFd theirs;
};
Result<SocketPair> make_pair(int type); // SOCK_SEQPACKET or SOCK_STREAM; both close-on-exec

Status send_descriptor(int control, int descriptor); // kUnavailable where the other side is gone
Result<UniqueFd> receive_descriptor(int control);    // kUnavailable where the other side is gone

} // namespace latchkey::signer
