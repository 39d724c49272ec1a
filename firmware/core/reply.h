/*
 * The reply under construction: bounded, and an error replaces whatever was in it. There is one, as requests
 * are answered one after another; handing it to each function took flash in each call.
 */
#ifndef REPLY_H
#define REPLY_H

#include "frame.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Values travel on the wire: docs/protocol.md §4. */
typedef enum {
    STATUS_OK = 0,
    STATUS_UNKNOWN = 1,
    STATUS_MALFORMED = 2,
    STATUS_RANGE = 3,
    STATUS_INPUT_DIGEST = 4,
    STATUS_STALE = 5,
    STATUS_ENGINE = 6,
    STATUS_VERSION = 7,
    STATUS_UNSUPPORTED = 8,
    STATUS_TOO_LARGE = 9
} reply_status;

void reply_start(void);
/* Room for `size` bytes at the end of the payload; NULL, and the reply fails, if there is none. */
uint8_t *reply_reserve(size_t size);
size_t reply_room(void);
/* Something did not fit: the reply is going to say so. */
bool reply_overflowed(void);
void reply_u8(uint8_t value);
void reply_u16(uint16_t value);
void reply_u32(uint32_t value);
void reply_u64(uint64_t value);
void reply_bytes(const void *data, size_t size);
void reply_text(const char *text);
/* Forgets the payload: a status other than OK. Request and status say why, in the host's words. */
void reply_fail(reply_status status);
/* The engine's reason is its own. */
void reply_engine_failed(const char *why);
void reply_send(uint8_t request_type, uint16_t sequence);
/* Where LINK_MAX_PAYLOAD bytes lie idle while no request is answered. */
uint8_t *reply_idle_bytes(void);

#endif
