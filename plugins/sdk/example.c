/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole plugin in C11: a factor whose answer is always the user's name. For reading, and so that the build
 * proves the header to be C; the loader's tests load it. Never for use.
 */
#include <string.h>

#include "plugins/sdk/latchkey_plugin.h"

static struct lk_instance { int unused; } the_instance;

static int32_t fail(lk_error* error, int32_t status, const char* message) {
    strncpy(error->message, message, sizeof error->message - 1);
    return status;
}

static int32_t put_text(const lk_sink* result, uint32_t field, const char* text) {
    lk_bytes bytes = {(const uint8_t*)text, strlen(text)};
    return result->put(result->context, field, bytes);
}

static int32_t open_example(const lk_host* host, lk_instance** instance, lk_error* error) {
    if (host->setting_name(host->context, 0) != NULL) {
        return fail(error, LK_ERROR_CONFIG, "the example has no settings");
    }
    *instance = &the_instance;
    return LK_OK;
}

static void close_example(lk_instance* instance) {
    (void)instance;
}

static int32_t enrol(lk_instance* factor, lk_bytes user, lk_bytes issuer, int64_t now, const lk_sink* result,
                     uint32_t* needs_confirmation, lk_error* error) {
    (void)factor, (void)issuer, (void)now, (void)error;
    *needs_confirmation = 0;
    return result->put(result->context, LK_FIELD_STATE, user);
}

static int32_t challenge(lk_instance* factor, lk_bytes state, const lk_sink* result, lk_error* error) {
    (void)factor, (void)state, (void)error;
    return put_text(result, LK_FIELD_PROMPT, "Your name: ");
}

static int32_t check(lk_instance* factor, lk_bytes state, lk_bytes answer, int64_t now, const lk_sink* result,
                     uint32_t* accepted, lk_error* error) {
    (void)factor, (void)now;
    if (state.size == 0) return fail(error, LK_ERROR_TAMPERED, "there is no name in the state");
    if (state.size != answer.size || memcmp(state.data, answer.data, state.size) != 0) {
        return put_text(result, LK_FIELD_REASON, "wrong name");
    }
    *accepted = 1;
    return result->put(result->context, LK_FIELD_STATE, state);
}

static const lk_factor factor_functions = {
    .size = sizeof(lk_factor), .enrol = enrol, .challenge = challenge, .check = check};

static const lk_plugin table = {.size = sizeof(lk_plugin),
                                .abi_major = LK_ABI_MAJOR,
                                .abi_minor = LK_ABI_MINOR,
                                .kind = LK_KIND_FACTOR,
                                .name = "example",
                                .version = "1",
                                .functions = &factor_functions,
                                .open = open_example,
                                .close = close_example};

const lk_plugin* latchkey_plugin(void) {
    return &table;
}
