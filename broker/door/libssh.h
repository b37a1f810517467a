// SPDX-License-Identifier: Apache-2.0
#pragma once
// libssh's handles with their owners. Compiles against 0.10 (Debian 12) and 0.11 (Debian 13). Its queue of
// messages, which we use, is marked deprecated in favour of callbacks: in a callback one may not block, and
// a login asks the ledger. Include it in .cc files only.

#define SSH_SUPPRESS_DEPRECATED
#include <libssh/callbacks.h>
#include <libssh/libssh.h>
#include <libssh/server.h>

#include "core/base/unique_handle.h"

namespace latchkey::door {

using SessionHandle = UniqueHandle<ssh_session_struct, ssh_free>;
using EventHandle = UniqueHandle<ssh_event_struct, ssh_event_free>;
using BindHandle = UniqueHandle<ssh_bind_struct, ssh_bind_free>;
using MessageHandle = UniqueHandle<ssh_message_struct, ssh_message_free>;
using KeyHandle = UniqueHandle<ssh_key_struct, ssh_key_free>;
using StringHandle = UniqueHandle<ssh_string_struct, ssh_string_free>;
using TextHandle = UniqueHandle<char, ssh_string_free_char>;

} // namespace latchkey::door
