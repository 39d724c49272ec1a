/*
 * What the two QEMU machines do differently; platform.c does the rest for
 * both. Each build passes UART_BASE and UART_STRIDE_BYTES.
 */
#ifndef MACHINE_H
#define MACHINE_H

#include <stdint.h>

#define SLEEP_FOR_EVER UINT64_MAX

void machine_init(void);
/* Sleeps until the UART wants attention or `deadline_us` has come; may wake early. */
void machine_sleep(uint64_t deadline_us);
void machine_reset(void) __attribute__((noreturn));
/* Sleeps with every interrupt off. */
void machine_halt(void) __attribute__((noreturn));

/* ticks / per_us for 1 <= per_us < 2^16, in divisions of 32 bits: one of 64 takes a routine of its own. */
static inline uint64_t ticks_to_us(uint64_t ticks, uint32_t per_us) {
    uint32_t low = (uint32_t)ticks;
    uint32_t high = (uint32_t)(ticks >> 32);
    uint32_t first = high / per_us;
    uint32_t rest = (high - first * per_us) << 16 | low >> 16;
    uint32_t second = rest / per_us;
    rest = (rest - second * per_us) << 16 | (low & 0xFFFFu);
    return (uint64_t)first << 32 | (second << 16 | rest / per_us);
}

/* For traps and whatever else cannot go on. Writes one line of text on the UART and halts:
 * the emulator stays up, so that the host sees the line, then silence. */
void panic(const char *const names[3], const uint32_t values[3]) __attribute__((noreturn));

#endif
