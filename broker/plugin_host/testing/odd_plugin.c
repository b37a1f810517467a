/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A factor that is wrong in one way, chosen by the build (see ../CMakeLists.txt): -DNAME="…" and one of the
 * macros below. Without any it is right.
 */
#include <string.h>

#include "plugins/sdk/latchkey_plugin.h"

#ifndef TABLE_NAME
#define TABLE_NAME NAME
#endif
#ifndef MAJOR
#define MAJOR LK_ABI_MAJOR
#endif
#ifndef MINOR
#define MINOR LK_ABI_MINOR
#endif
#ifndef SIZE
#define SIZE sizeof(lk_plugin)
#endif
#ifndef KIND
#define KIND LK_KIND_FACTOR
#endif
#ifndef FUNCTIONS_SIZE
#define FUNCTIONS_SIZE sizeof(lk_factor)
#endif
#ifndef OPEN
#define OPEN open_well
#endif
#ifndef CHECK
#define CHECK check_well
#endif
#ifndef ENTRY
#define ENTRY latchkey_plugin
#endif

static int instance;

static int32_t open_well(const lk_host* host, lk_instance** out, lk_error* error) {
    (void)error;
    host->log(host->context, LK_LOG_WARN, "opened\nwith two lines");
    *out = (lk_instance*)&instance;
    return LK_OK;
}

static int32_t open_nothing(const lk_host* host, lk_instance** out, lk_error* error) {
    (void)host, (void)out, (void)error;
    return LK_OK;
}

static int32_t open_silently_failing(const lk_host* host, lk_instance** out, lk_error* error) {
    (void)host, (void)out, (void)error;
    return 4711;
}

static int32_t open_unterminated(const lk_host* host, lk_instance** out, lk_error* error) {
    (void)host, (void)out;
    memset(error->message, '\n', sizeof error->message);
    memset(error->next, 'n', sizeof error->next);
    return LK_ERROR_CONFIG;
}

static void close_well(lk_instance* unused) {
    (void)unused;
}

static int32_t enrol(lk_instance* self, lk_bytes user, lk_bytes issuer, int64_t now, const lk_sink* result,
                     uint32_t* needs_confirmation, lk_error* error) {
    (void)self, (void)user, (void)issuer, (void)now, (void)result, (void)needs_confirmation, (void)error;
    return LK_OK;
}

static int32_t challenge(lk_instance* self, lk_bytes state, const lk_sink* result, lk_error* error) {
    (void)self, (void)state, (void)result, (void)error;
    return LK_OK;
}

static int32_t check_well(lk_instance* self, lk_bytes state, lk_bytes answer, int64_t now,
                          const lk_sink* result, uint32_t* accepted, lk_error* error) {
    (void)self, (void)answer, (void)now, (void)error;
    *accepted = 1;
    return result->put(result->context, LK_FIELD_STATE, state);
}

static int32_t check_without_state(lk_instance* self, lk_bytes state, lk_bytes answer, int64_t now,
                                   const lk_sink* result, uint32_t* accepted, lk_error* error) {
    (void)self, (void)state, (void)answer, (void)now, (void)result, (void)error;
    *accepted = 1;
    return LK_OK;
}

static int32_t check_saying_two(lk_instance* self, lk_bytes state, lk_bytes answer, int64_t now,
                                const lk_sink* result, uint32_t* accepted, lk_error* error) {
    (void)self, (void)answer, (void)now, (void)error;
    *accepted = 2;
    return result->put(result->context, LK_FIELD_STATE, state);
}

static int32_t check_with_huge_state(lk_instance* self, lk_bytes state, lk_bytes answer, int64_t now,
                                     const lk_sink* result, uint32_t* accepted, lk_error* error) {
    static uint8_t huge[1 << 20];
    lk_bytes bytes = {huge, sizeof huge};
    (void)self, (void)state, (void)answer, (void)now, (void)error;
    *accepted = 1;
    return result->put(result->context, LK_FIELD_STATE, bytes);
}

static const lk_factor functions = {
    .size = FUNCTIONS_SIZE, .enrol = enrol, .challenge = challenge, .check = CHECK};

static const lk_plugin table = {.size = SIZE,
                                .abi_major = MAJOR,
                                .abi_minor = MINOR,
                                .kind = KIND,
                                .name = TABLE_NAME,
                                .version = "1",
                                .functions = &functions,
                                .open = OPEN,
                                .close = close_well};

LK_PLUGIN_EXPORT const lk_plugin* ENTRY(void);
LK_PLUGIN_EXPORT const lk_plugin* ENTRY(void) {
    return &table;
}

/* Each build leaves most of these unused. */
int32_t (*const all_opens[])(const lk_host*, lk_instance**, lk_error*) = {
    open_well, open_nothing, open_silently_failing, open_unterminated};
int32_t (*const all_checks[])(lk_instance*, lk_bytes, lk_bytes, int64_t, const lk_sink*, uint32_t*,
                              lk_error*) = {check_well, check_without_state, check_saying_two,
                                            check_with_huge_state};
