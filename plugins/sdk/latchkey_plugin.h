/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LATCHKEY_PLUGIN_H
#define LATCHKEY_PLUGIN_H
/*
 * The seam between Latchkey and its plugins: C11, standard headers only. A plugin is a shared object that
 * exports one symbol, latchkey_plugin(), which returns a table; everything else goes through function
 * pointers. docs/plugin-guide.md explains it, plugin.h beside this file is a C++ wrapper over it.
 *
 * Rules that hold throughout
 *  - Tables are append only. Each begins with its own size in bytes as its maker compiled it; the
 *    reader takes min(size) into a zeroed table of its own. lk_bytes and lk_value never change.
 *  - Memory is freed by the side that allocated it, and none changes hands: what goes in is lent until the
 *    call returns, what comes out goes through an lk_sink, which copies before it returns.
 *  - A function that can fail returns LK_OK or an LK_ERROR_… code and fills *error, which is never NULL.
 *    Messages are one line of UTF-8 for an operator and hold no secret.
 *  - Nothing may be thrown or longjmp'ed across the seam, and no assertion may judge input.
 *  - Text is UTF-8; an lk_bytes is not terminated, a const char* is.
 */
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Major: must be equal. Minor: a plugin newer than its host is refused, an older one works. */
#define LK_ABI_MAJOR 1u
#define LK_ABI_MINOR 0u

#if defined(__GNUC__)
#define LK_PLUGIN_EXPORT __attribute__((visibility("default")))
#else
#define LK_PLUGIN_EXPORT
#endif

enum lk_kind {
    LK_KIND_STORE = 1,
    LK_KIND_SIGNER = 2,
    LK_KIND_FACTOR = 3,
    LK_KIND_AUDIT = 4,   /* reserved */
    LK_KIND_NOTIFY = 5,  /* reserved */
    LK_KIND_IDENTITY = 6 /* reserved */
};

/* The codes of docs/errors.md that a plugin may use. Any other number is read as LK_ERROR_INTERNAL. */
enum lk_status {
    LK_OK = 0,
    LK_ERROR_USAGE = 1,       /* called against this contract */
    LK_ERROR_MALFORMED = 2,   /* bytes or text that do not parse */
    LK_ERROR_TOO_LARGE = 3,   /* over a limit */
    LK_ERROR_UNSUPPORTED = 4, /* well formed, not done here */
    LK_ERROR_NOT_FOUND = 5,   /* no such thing */
    LK_ERROR_EXISTS = 6,      /* there already: a unique violation */
    LK_ERROR_REFUSED = 7,     /* a rule says no */
    LK_ERROR_CONFLICT = 8,    /* try the transaction again */
    LK_ERROR_UNAVAILABLE = 9, /* the other side is gone */
    LK_ERROR_TIMED_OUT = 10,  /* a deadline passed */
    LK_ERROR_CONFIG = 11,     /* a setting is wrong */
    LK_ERROR_IO = 12,         /* file or device: full, unwritable */
    LK_ERROR_TAMPERED = 13,   /* damaged or not what it claims to be */
    LK_ERROR_INTERNAL = 14    /* a fault of the plugin */
};

enum lk_log_level { LK_LOG_DEBUG = 1, LK_LOG_INFO = 2, LK_LOG_WARN = 3, LK_LOG_ERROR = 4 };

/* Borrowed memory; data may be NULL where size is 0. */
typedef struct lk_bytes {
    const uint8_t* data;
    size_t size;
} lk_bytes;

#define LK_MESSAGE_SIZE 512
#define LK_NEXT_SIZE 256

/* Owned by the caller, zeroed but for size before each call. */
typedef struct lk_error {
    uint32_t size;
    char message[LK_MESSAGE_SIZE]; /* what and why, terminated */
    char next[LK_NEXT_SIZE];       /* what to do next, terminated, may be empty */
} lk_error;

/* What a result is, where a call has several. A sink ignores a field that it does not know. */
enum lk_field {
    LK_FIELD_VALUE = 1,  /* signer: a public key, a signature */
    LK_FIELD_STATE = 2,  /* factor: the next state */
    LK_FIELD_TEXT = 3,   /* factor: what the person is shown */
    LK_FIELD_QR = 4,     /* factor: the same as a QR code in UTF-8 half blocks */
    LK_FIELD_PROMPT = 5, /* factor: what the person is asked */
    LK_FIELD_REASON = 6  /* factor: why not accepted, for the audit row; never the code */
};

/* Takes results. Owned by the host, valid until the call that it was given to returns, same thread. put()
 * copies; where it returns another value than LK_OK, the plugin stops and returns that value. */
typedef struct lk_sink {
    void* context;
    int32_t (*put)(void* context, uint32_t field, lk_bytes value);
} lk_sink;

/* --- the host's services ------------------------------------------------------------------------------- */

/* Given to open(), owned by the host, valid until close() returns. Every function: any thread. */
typedef struct lk_host {
    uint32_t size;
    uint32_t abi_major;
    uint32_t abi_minor;
    void* context; /* to be passed to each function below */
    /* One line, no secrets. line is copied. */
    void (*log)(void* context, uint32_t level, const char* line);
    /* Microseconds: since the Unix epoch, and of a clock that never steps back. */
    int64_t (*now)(void* context);
    int64_t (*monotonic)(void* context);
    /* The plugin's own table of the configuration file. NULL where it is not set; the text is valid until
     * close() returns. */
    const char* (*setting)(void* context, const char* key);
    /* Names of what is set, index 0 and up; NULL after the last. So a misspelt one can be refused. */
    const char* (*setting_name)(void* context, size_t index);
} lk_host;

/* --- what a plugin exports ----------------------------------------------------------------------------- */

typedef struct lk_instance lk_instance; /* the plugin's own, made by open(), ended by close() */

/* Owned by the plugin, constant, valid for the life of the process (a plugin is never unloaded). */
typedef struct lk_plugin {
    uint32_t size;
    uint32_t abi_major;
    uint32_t abi_minor;
    uint32_t kind;
    const char* name;    /* that of the file, without .so: [a-z0-9-]+ */
    const char* version; /* for people */
    /* lk_store, lk_signer or lk_factor, by kind. */
    const void* functions;
    /* Reads the settings and proves that they work: a wrong one is told here, not at the first use. May be
     * called several times; any thread. *instance is set where LK_OK is returned. */
    int32_t (*open)(const lk_host* host, lk_instance** instance, lk_error* error);
    /* Ends the instance; no other call of it runs or follows. */
    void (*close)(lk_instance* instance);
} lk_plugin;

/* The one exported symbol. Any thread, any number of times. */
LK_PLUGIN_EXPORT const lk_plugin* latchkey_plugin(void);
typedef const lk_plugin* (*lk_plugin_entry)(void);
#define LK_PLUGIN_ENTRY "latchkey_plugin"

/* --- kind store: an SQL driver, no query of its own ---------------------------------------------------- */

enum lk_value_type { LK_NULL = 1, LK_INTEGER = 2, LK_TEXT = 3, LK_BLOB = 4 };

typedef struct lk_value {
    uint32_t type;
    int64_t integer; /* LK_INTEGER */
    lk_bytes bytes;  /* LK_TEXT, LK_BLOB */
} lk_value;

/* One row of a result; values are lent until it returns. Another value than LK_OK: stop, and return it. */
typedef struct lk_row_sink {
    void* context;
    int32_t (*row)(void* context, const lk_value* values, size_t count);
} lk_row_sink;

/* Owned by the plugin, made by connect(), ended by disconnect(), which comes before the instance's close().
 * One call at a time; calls may come from different threads. */
typedef struct lk_connection lk_connection;

typedef struct lk_store {
    uint32_t size;
    /* "sqlite", "postgres": constant, owned by the plugin. */
    const char* (*dialect)(lk_instance* store);
    /* Any thread, several at once. */
    int32_t (*connect)(lk_instance* store, lk_connection** connection, lk_error* error);
    /* Rolls an open transaction back. */
    void (*disconnect)(lk_connection* connection);

    /* One statement with parameters $1, $2, …, prepared once and kept. *changed: rows that it inserted,
     * updated or deleted. In a transaction that the database has ended by itself (a full disk may), every
     * run fails until rollback: nothing may be committed on its own by accident. */
    int32_t (*run)(lk_connection* connection, lk_bytes sql, const lk_value* parameters, size_t count,
                   const lk_row_sink* rows, int64_t* changed, lk_error* error);
    /* Several statements without parameters and without results. */
    int32_t (*run_script)(lk_connection* connection, lk_bytes sql, lk_error* error);

    /* The host calls these in a legal order only. for_writing: take the write lock now, not at the first
     * write. commit: durable when it returns LK_OK; after another value the host calls rollback. One
     * savepoint at most is open; release and rollback_to both end it. */
    int32_t (*begin)(lk_connection* connection, int32_t for_writing, lk_error* error);
    int32_t (*commit)(lk_connection* connection, lk_error* error);
    int32_t (*rollback)(lk_connection* connection, lk_error* error);
    int32_t (*savepoint)(lk_connection* connection, lk_error* error);
    int32_t (*release_savepoint)(lk_connection* connection, lk_error* error);
    int32_t (*rollback_to_savepoint)(lk_connection* connection, lk_error* error);

    /* Word between several brokers on one database. All three, or all NULL where one process owns it.
     * notify: told to the listeners when the transaction commits. wait: up to timeout_ms (0: only what is
     * there) for a channel's payloads, one row of two texts each (channel, payload). */
    int32_t (*listen)(lk_connection* connection, lk_bytes channel, lk_error* error);
    int32_t (*notify)(lk_connection* connection, lk_bytes channel, lk_bytes payload, lk_error* error);
    int32_t (*wait)(lk_connection* connection, int32_t timeout_ms, const lk_row_sink* rows, lk_error* error);

    /* NULL where there is no gain in it: the host runs the statement then. A statement in a transaction for
     * writing whose answer nobody needs: it may be sent with what comes next, in order. Where it turns out to
     * have failed, that call and each one after it fails until rollback, commit too, the first with
     * LK_ERROR_CONFLICT: the host makes the whole transaction again, without post. */
    int32_t (*post)(lk_connection* connection, lk_bytes sql, const lk_value* parameters, size_t count,
                    lk_error* error);
} lk_store;

/* --- kind signer: the CA key. Any thread, several at once --------------------------------------------- */

typedef struct lk_signer {
    uint32_t size;
    /* One LK_FIELD_VALUE a key: the SSH public key blob (RFC 4253 section 6.6). */
    int32_t (*public_keys)(lk_instance* signer, const lk_sink* result, lk_error* error);
    /* One LK_FIELD_VALUE: the SSH signature blob over data by the key of that blob. The host has judged data
     * before. LK_ERROR_NOT_FOUND for a key that is not held. */
    int32_t (*sign)(lk_instance* signer, lk_bytes public_key, lk_bytes data, const lk_sink* result,
                    lk_error* error);
} lk_signer;

/* --- kind factor: a second factor, without state of its own. Any thread, several at once ---------------- */

typedef struct lk_factor {
    uint32_t size;
    /* A new secret for this person. STATE, and any of TEXT, QR, PROMPT. *needs_confirmation: 1 where a first
     * code must confirm the state before it counts. now: microseconds since the Unix epoch. */
    int32_t (*enrol)(lk_instance* factor, lk_bytes user, lk_bytes issuer, int64_t now, const lk_sink* result,
                     uint32_t* needs_confirmation, lk_error* error);
    /* PROMPT: what to ask the person who has this state. */
    int32_t (*challenge)(lk_instance* factor, lk_bytes state, const lk_sink* result, lk_error* error);
    /* *accepted 1: STATE, in which this answer is good no more; the host stores it by compare-and-swap with
     * what the answer opens. *accepted 0: REASON. A wrong answer is no error. Constant time in secrets. */
    int32_t (*check)(lk_instance* factor, lk_bytes state, lk_bytes answer, int64_t now, const lk_sink* result,
                     uint32_t* accepted, lk_error* error);
} lk_factor;

#ifdef __cplusplus
}
#endif
#endif
