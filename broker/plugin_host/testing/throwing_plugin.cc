// SPDX-License-Identifier: Apache-2.0
// A factor in C++ without the SDK, and so without its boundary: it throws into the host. With
// -DTHROW_AT_ENTRY as soon as it is asked for its table.
#include <stdexcept>

#include "plugins/sdk/latchkey_plugin.h"

namespace {

int instance;

std::int32_t open_well(const lk_host*, lk_instance** out, lk_error*) {
    *out = reinterpret_cast<lk_instance*>(&instance);
    return LK_OK;
}

void close_throwing(lk_instance*) {
    throw std::runtime_error("at close");
}

std::int32_t enrol(lk_instance*, lk_bytes, lk_bytes, std::int64_t, const lk_sink*, std::uint32_t*,
                   lk_error*) {
    throw std::runtime_error("at enrol");
}

std::int32_t challenge(lk_instance*, lk_bytes, const lk_sink*, lk_error*) {
    throw 7;
}

std::int32_t check(lk_instance*, lk_bytes, lk_bytes, std::int64_t, const lk_sink*, std::uint32_t* accepted,
                   lk_error*) {
    *accepted = 1;
    throw std::runtime_error("after it accepted");
}

const lk_factor kFunctions = {sizeof(lk_factor), enrol, challenge, check};
const lk_plugin kTable = {sizeof(lk_plugin), LK_ABI_MAJOR, LK_ABI_MINOR,  LK_KIND_FACTOR, NAME, "1",
                          &kFunctions,       open_well,    close_throwing};

} // namespace

extern "C" const lk_plugin* latchkey_plugin(void) {
#ifdef THROW_AT_ENTRY
    throw std::runtime_error("at entry");
#endif
    return &kTable;
}
