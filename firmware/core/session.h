/* The command loop: which request gets which answer, and what survives between requests. */
#ifndef SESSION_H
#define SESSION_H

#include <stddef.h>
#include <stdint.h>

/* Sends READY. `engine_failure` is what engine_init() said, or NULL. */
void session_start(const char *engine_failure);
void session_receive(const uint8_t *data, size_t size);

/* How long the platform may sleep for bytes; UINT32_MAX: for ever. */
uint32_t session_timeout_us(void);
/* Returns to the old baud rate if the new one was not confirmed in time. */
void session_check_timeout(void);

#endif
