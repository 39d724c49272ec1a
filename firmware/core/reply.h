/* A reply payload under construction: bounded, and an error replaces whatever was in it. */
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

typedef struct {
    uint8_t payload[LINK_MAX_PAYLOAD];
    size_t size;
    reply_status status;
    bool overflow;
} reply;

void reply_start(reply *answer);
/* Room for `size` bytes at the end of the payload; NULL, and the reply fails, if there is none. */
uint8_t *reply_reserve(reply *answer, size_t size);
void reply_u8(reply *answer, uint8_t value);
void reply_u16(reply *answer, uint16_t value);
void reply_u32(reply *answer, uint32_t value);
void reply_u64(reply *answer, uint64_t value);
void reply_bytes(reply *answer, const void *data, size_t size);
void reply_text(reply *answer, const char *text);
/* Forgets the payload: a status other than OK. Request and status say why, in the host's words. */
void reply_fail(reply *answer, reply_status status);
/* The engine's reason is its own. */
void reply_engine_failed(reply *answer, const char *why);
void reply_send(reply *answer, uint8_t request_type, uint16_t sequence);

#endif
