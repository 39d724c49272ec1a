/*
 * The device's side of docs/protocol.md: bytes in from platform.h, a network
 * behind engine.h, frames out. Plain C99, no allocation, no libc beyond
 * string.h, no floating point.
 */
#ifndef CORE_H
#define CORE_H

#include <stddef.h>
#include <stdint.h>

/* Starts platform and engine, sends READY and serves requests for ever. */
void core_run(void);

/* The same in pieces, so that a fuzzer can drive them. */
void core_start(void);
void core_receive(const uint8_t *data, size_t size);

#endif
