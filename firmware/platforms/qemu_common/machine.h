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

/* For traps and whatever else cannot go on. Writes one line of text on the UART and halts:
 * the emulator stays up, so that the host sees the line, then silence. */
void panic(const char *const names[3], const uint32_t values[3]) __attribute__((noreturn));

#endif
