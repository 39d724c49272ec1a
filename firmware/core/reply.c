#include "reply.h"

#include "bytes.h"

#include <string.h>

void reply_start(reply *answer) {
    answer->size = 0;
    answer->status = STATUS_OK;
    answer->overflow = false;
}

uint8_t *reply_reserve(reply *answer, size_t size) {
    if (answer->overflow || size > sizeof answer->payload - answer->size) {
        answer->overflow = true;
        return NULL;
    }
    uint8_t *place = answer->payload + answer->size;
    answer->size += size;
    return place;
}

void reply_u8(reply *answer, uint8_t value) {
    uint8_t *to = reply_reserve(answer, 1);
    if (to != NULL)
        *to = value;
}

void reply_u16(reply *answer, uint16_t value) {
    uint8_t *to = reply_reserve(answer, 2);
    if (to != NULL)
        put_u16(to, value);
}

void reply_u32(reply *answer, uint32_t value) {
    uint8_t *to = reply_reserve(answer, 4);
    if (to != NULL)
        put_u32(to, value);
}

void reply_u64(reply *answer, uint64_t value) {
    uint8_t *to = reply_reserve(answer, 8);
    if (to != NULL)
        put_u64(to, value);
}

void reply_bytes(reply *answer, const void *data, size_t size) {
    uint8_t *to = reply_reserve(answer, size);
    if (to != NULL && size > 0)
        memcpy(to, data, size);
}

void reply_text(reply *answer, const char *text) {
    reply_bytes(answer, text, strlen(text));
}

void reply_fail(reply *answer, reply_status status) {
    reply_start(answer);
    answer->status = status;
}

void reply_engine_failed(reply *answer, const char *why) {
    reply_fail(answer, STATUS_ENGINE);
    reply_text(answer, why);
}

void reply_send(reply *answer, uint8_t request_type, uint16_t sequence) {
    if (answer->overflow)
        reply_fail(answer, STATUS_TOO_LARGE);
    frame_send(request_type | 0x80u, sequence, (uint16_t)answer->status, answer->payload, answer->size);
}
