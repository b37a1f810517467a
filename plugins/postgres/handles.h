// SPDX-License-Identifier: Apache-2.0
#pragma once
// Owners of libpq's handles, and what went wrong as our codes: by SQLSTATE where the server answered, by
// libpq's words where no connection came to be. Messages are one line and hold no value of a statement, no
// password.

#include <libpq-fe.h>

#include <string>
#include <string_view>

#include "core/base/result.h"
#include "core/base/unique_handle.h"

namespace latchkey::postgres {

using Session = UniqueHandle<PGconn, PQfinish>;
using Answer = UniqueHandle<PGresult, PQclear>;

// libpq's text on one line, without the space around it.
std::string one_line(const char* text);

// For an answer that is an error.
Failure failure(const PGresult* answer, std::string_view where);
// For a connection that is lost: whether the last statement was done is not known.
Failure lost(std::string_view why, std::string_view where);
// For a connection that did not come to be. tls_reason: OpenSSL's, where it refused the server's certificate.
Failure no_connection(std::string_view words, std::string_view tls_reason, std::string_view where);

// Whether the session is of no use after this error: it ended, or what it prepared is gone.
bool ends_session(const PGresult* answer);

} // namespace latchkey::postgres
