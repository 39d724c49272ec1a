#include "reply.h"

#include "bytes.h"

#include <string.h>

static struct {
    uint8_t payload[LINK_MAX_PAYLOAD];
    size_t size;
    reply_status status;
    bool overflow;
} answer;

void reply_start(void) {
    answer.size = 0;
    answer.status = STATUS_OK;
    answer.overflow = false;
}

uint8_t *reply_reserve(size_t size) {
    if (answer.overflow || size > sizeof answer.payload - answer.size) {
        answer.overflow = true;
        return NULL;
    }
    uint8_t *place = answer.payload + answer.size;
    answer.size += size;
    return place;
}

size_t reply_room(void) {
    return sizeof answer.payload - answer.size;
}

bool reply_overflowed(void) {
    return answer.overflow;
}

uint8_t *reply_idle_bytes(void) {
    return answer.payload;
}

void reply_u8(uint8_t value) {
    uint8_t *to = reply_reserve(1);
    if (to != NULL)
        *to = value;
}

void reply_u16(uint16_t value) {
    uint8_t *to = reply_reserve(2);
    if (to != NULL)
        put_u16(to, value);
}

void reply_u32(uint32_t value) {
    uint8_t *to = reply_reserve(4);
    if (to != NULL)
        put_u32(to, value);
}

void reply_u64(uint64_t value) {
    uint8_t *to = reply_reserve(8);
    if (to != NULL)
        put_u64(to, value);
}

void reply_bytes(const void *data, size_t size) {
    uint8_t *to = reply_reserve(size);
    if (to != NULL && size > 0)
        memcpy(to, data, size);
}

void reply_text(const char *text) {
    reply_bytes(text, strlen(text));
}

void reply_fail(reply_status status) {
    reply_start();
    answer.status = status;
}

void reply_engine_failed(const char *why) {
    reply_fail(STATUS_ENGINE);
    reply_text(why);
}

void reply_send(uint8_t request_type, uint16_t sequence) {
    if (answer.overflow)
        reply_fail(STATUS_TOO_LARGE);
    frame_send(request_type | 0x80u, sequence, (uint16_t)answer.status, answer.payload, answer.size);
}
