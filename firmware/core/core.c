#include "core.h"

#include "engine.h"
#include "platform.h"
#include "session.h"

#include <string.h>

/* Bytes taken from the platform at a time: a 16550's FIFO, four times. */
#define READ_CHUNK 64u

void core_start(void) {
    platform_init();
    const char *failure = engine_init();
    if (failure != NULL) {
        /* Log text for whoever watches; INFER answers with the same words. */
        platform_write((const uint8_t *)failure, strlen(failure));
        platform_write((const uint8_t *)"\n", 1);
    }
    session_start(failure);
}

void core_receive(const uint8_t *data, size_t size) {
    session_receive(data, size);
}

void core_run(void) {
    static uint8_t chunk[READ_CHUNK];
    core_start();
    for (;;) {
        size_t size = platform_read(chunk, sizeof chunk, session_timeout_us());
        core_receive(chunk, size);
        session_check_timeout();
    }
}
