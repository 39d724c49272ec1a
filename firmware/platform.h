/*
 * What a machine gives the bench: bytes in and out, time, counters, memory
 * high-water marks, identity. One firmware image links exactly one platform.
 */
#ifndef PLATFORM_H
#define PLATFORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PLATFORM_UNKNOWN 0xFFFFFFFFu

/* Values travel on the wire: docs/protocol.md, HELLO. */
typedef enum {
    PLATFORM_BOOT_UNKNOWN = 0,
    PLATFORM_BOOT_POWER_ON = 1,
    PLATFORM_BOOT_RESET = 2,
    PLATFORM_BOOT_WATCHDOG = 3,
    PLATFORM_BOOT_PANIC = 4,
    PLATFORM_BOOT_BROWN_OUT = 5,
    PLATFORM_BOOT_PIN = 6
} platform_boot_reason;

typedef struct {
    const char *name;          /* "qemu_riscv32" */
    const char *fidelity;      /* "silicon", "soc", "isa", "host" */
    const char *counter;       /* unit of platform_count() after scaling: "instructions", "cycles", "none" */
    const char *counter_scale; /* "N/D" */
    bool counter_exact;        /* the same in every run */
    uint32_t rx_window;        /* bytes buffered while the engine computes */
} platform_info;

typedef struct {
    uint32_t stack_bytes;
    uint32_t stack_used_bytes;
    uint32_t heap_bytes;
    uint32_t heap_low_bytes;
    uint32_t static_ram_bytes;
} platform_memory;

typedef struct {
    const char *name;
    uint32_t stack_bytes;     /* PLATFORM_UNKNOWN where the machine cannot tell */
    uint32_t stack_low_bytes; /* the least that was ever free */
} platform_task;

void platform_init(void);
const platform_info *platform_get_info(void);
platform_boot_reason platform_get_boot_reason(void);

/* Bytes received, at most `size`; sleeps until at least one is there or
 * `timeout_us` has passed (UINT32_MAX: for ever). 0 on timeout. */
size_t platform_read(uint8_t *data, size_t size, uint32_t timeout_us);
/* Returns when all bytes are accepted for sending. */
void platform_write(const uint8_t *data, size_t size);
/* Returns when all bytes have left. */
void platform_flush(void);
/* false if the rate cannot be made; takes effect after platform_flush(). */
bool platform_set_baud(uint32_t baud);
uint32_t platform_get_baud(void);

/* Nothing but the caller's own code may run between these two as far as the
 * machine allows it: an emulator masks its interrupts, so that counts are the
 * same in every run. */
void platform_measure_begin(void);
void platform_measure_end(void);
/* Monotonic; unit and scale in platform_info. */
uint64_t platform_count(void);
uint64_t platform_microseconds(void);

void platform_get_memory(platform_memory *memory);
/* Tasks with a stack each, from 0, the one that runs the network first; false when there are no more.
 * Asking for 0 looks at them all, the others come from that look. */
bool platform_get_task(uint16_t index, platform_task *task);

/* One more "key=value" line for IDENTIFY (chip revision, MAC, clocks, ...);
 * NULL when there are no more. */
const char *platform_identity_line(uint16_t index);

/* Restarts the machine; PLATFORM_BOOT_RESET is the next boot's reason where
 * the machine can tell. */
void platform_reset(void);

#ifdef __cplusplus
}
#endif

#endif
