#include "session.h"

#include "bytes.h"
#include "describe.h"
#include "engine.h"
#include "frame.h"
#include "infer.h"
#include "mlperf.h"
#include "platform.h"
#include "reply.h"

#include <string.h>

/* Whether the MLPerf Tiny dialect is answered too; without it, the linker drops its code. */
#ifndef MLPERF_DIALECT
#define MLPERF_DIALECT 1
#endif

#define EVENT_READY     0x70u
#define EVENT_BAD_FRAME 0x71u

#define REQUEST_HELLO    0x01u
#define REQUEST_IDENTIFY 0x02u
#define REQUEST_MEMORY   0x07u
#define REQUEST_RESET    0x08u
#define REQUEST_LAST     0x3Fu

#define BAUD_CONFIRM_US 1000000u

enum {
    CAPABILITY_LAYER_TAPS = 1u << 0,
    CAPABILITY_LAYER_COUNTS = 1u << 1,
    CAPABILITY_LAYER_DIGESTS = 1u << 2,
    CAPABILITY_SET_BAUD = 1u << 3,
    CAPABILITY_RESET = 1u << 4,
    CAPABILITY_MEMORY = 1u << 5,
    CAPABILITY_EXACT_COUNTS = 1u << 6,
    CAPABILITY_KEEPS_RESULT = 1u << 7
};

static struct {
    frame_parser parser;
    uint32_t frames_seen;
    uint32_t bad_frames;
    bool baud_wanted;      /* a new rate comes into force when the answer has left */
    bool baud_unconfirmed; /* no valid frame at the new rate yet */
    uint32_t rate_before;
    uint64_t baud_deadline_us;
    bool reset_wanted;
} session;

static uint32_t capabilities(void) {
    const platform_info *platform = platform_get_info();
    uint32_t bits = CAPABILITY_RESET | CAPABILITY_MEMORY | CAPABILITY_KEEPS_RESULT;
    if (engine_get_info()->layers > 0) {
        bits |= CAPABILITY_LAYER_TAPS | CAPABILITY_LAYER_DIGESTS;
        if (infer_can_count())
            bits |= CAPABILITY_LAYER_COUNTS;
    }
    if (platform_get_baud() != 0)
        bits |= CAPABILITY_SET_BAUD;
    if (platform->counter_exact)
        bits |= CAPABILITY_EXACT_COUNTS;
    return bits;
}

static void on_hello(const frame *request) {
    if (request->length != 8) {
        reply_fail(STATUS_MALFORMED);
        return;
    }
    if (request->payload[0] > FRAME_VERSION || request->payload[1] < FRAME_VERSION) {
        reply_fail(STATUS_VERSION);
        reply_u8(FRAME_VERSION);
        reply_u8(FRAME_VERSION);
        return;
    }
    infer_forget_input();
    reply_bytes(request->payload + 4, 4);
    reply_u8(FRAME_VERSION);
    reply_u8((uint8_t)platform_get_boot_reason());
    reply_u16(LINK_MAX_PAYLOAD);
    reply_u32(platform_get_info()->rx_window);
    reply_u32(capabilities());
    reply_u32(session.frames_seen);
}

static void on_reset(const frame *request) {
    (void)request;
    session.reset_wanted = true;
}

static void on_set_baud(const frame *request) {
    if (request->length != 4) {
        reply_fail(STATUS_MALFORMED);
        return;
    }
    if (platform_get_baud() == 0) {
        reply_fail(STATUS_UNSUPPORTED);
        return;
    }
    session.rate_before = platform_get_baud();
    uint32_t baud = get_u32(request->payload);
    /* The platform changes over when it is flushed, after the answer has left. */
    if (baud == 0 || !platform_set_baud(baud))
        reply_fail(STATUS_RANGE);
    else
        session.baud_wanted = true;
}

static void on_echo(const frame *request) {
    reply_bytes(request->payload, request->length);
}

/* By type, from REQUEST_HELLO on without a gap. */
static void (*const handlers[])(const frame *request) = {
    on_hello, on_identify, on_describe, on_input,    on_infer,
    on_read,  on_memory,   on_reset,    on_set_baud, on_echo,
};

static const uint32_t without_payload = 1u << REQUEST_IDENTIFY | 1u << REQUEST_MEMORY | 1u << REQUEST_RESET;

static void handle(const frame *request) {
    size_t index = (size_t)request->type - REQUEST_HELLO;
    if (index >= sizeof handlers / sizeof handlers[0])
        reply_fail(STATUS_UNKNOWN);
    else if (request->length != 0 && (without_payload >> request->type & 1u) != 0)
        reply_fail(STATUS_MALFORMED);
    else
        handlers[index](request);
}

static void change_baud(void) {
    platform_flush();
    session.baud_wanted = false;
    session.baud_unconfirmed = true;
    session.baud_deadline_us = platform_microseconds() + BAUD_CONFIRM_US;
}

static void on_frame(const frame *request) {
    /* Replies and events are not ours to answer: with both directions joined
     * by accident that would never end. */
    if (request->type == 0 || request->type > REQUEST_LAST)
        return;
    if (request->version != FRAME_VERSION && request->type != REQUEST_HELLO)
        return;
    session.frames_seen++;
    session.baud_unconfirmed = false;

    reply_start();
    handle(request);
    reply_send(request->type, request->sequence);

    if (session.baud_wanted)
        change_baud();
    if (session.reset_wanted) {
        session.reset_wanted = false;
        platform_flush();
        platform_reset();
    }
}

void session_start(const char *engine_failure) {
    uint8_t ready[4] = {FRAME_VERSION, (uint8_t)platform_get_boot_reason()};
    memset(&session, 0, sizeof session);
    frame_parser_start(&session.parser);
    infer_start(engine_failure);
    /* No frame is answered while that dialect is spoken, so it may have the answer's bytes. */
    if (MLPERF_DIALECT)
        mlperf_start(reply_idle_bytes(), LINK_MAX_PAYLOAD, engine_failure);
    put_u16(ready + 2, LINK_MAX_PAYLOAD);
    frame_send(EVENT_READY, 0, STATUS_OK, ready, sizeof ready);
}

void session_receive(const uint8_t *data, size_t size) {
    for (size_t i = 0; i < size; i++) {
        frame found;
        uint8_t count[4];
        /* The first sound frame decides, until the next start. */
        if (MLPERF_DIALECT && session.frames_seen == 0)
            mlperf_receive(data[i]);
        switch (frame_parser_put(&session.parser, data[i], &found)) {
        case FRAME_VALID:
            on_frame(&found);
            break;
        case FRAME_DAMAGED:
            put_u32(count, ++session.bad_frames);
            frame_send(EVENT_BAD_FRAME, 0, STATUS_OK, count, sizeof count);
            break;
        case FRAME_NONE:
            break;
        }
    }
}

uint32_t session_timeout_us(void) {
    if (!session.baud_unconfirmed)
        return UINT32_MAX;
    uint64_t now_us = platform_microseconds();
    return now_us < session.baud_deadline_us ? (uint32_t)(session.baud_deadline_us - now_us) : 0;
}

void session_check_timeout(void) {
    static const char notice[] = "baud rate not confirmed\n";
    if (!session.baud_unconfirmed || platform_microseconds() < session.baud_deadline_us)
        return;
    platform_set_baud(session.rate_before);
    platform_flush();
    session.baud_unconfirmed = false;
    platform_write((const uint8_t *)notice, sizeof notice - 1);
}
