/* The one byte stream of a board, over the peripheral that menuconfig chooses. The
 * console's text goes through the same driver, so that it never falls into a frame. */
#ifndef SERIAL_H
#define SERIAL_H

#include "freertos/FreeRTOS.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Buffered while the engine computes. */
#define SERIAL_RX_BYTES 8192u

void serial_open(void);
/* At most `size` bytes; waits for the first one only. */
size_t serial_read(uint8_t *data, size_t size, TickType_t ticks);
void serial_write(const uint8_t *data, size_t size);
/* Returns when everything has left. */
void serial_drain(void);
bool serial_can_make(uint32_t baud);
void serial_set_baud(uint32_t baud);
/* 0 where there is no such thing. */
uint32_t serial_get_baud(void);

#endif
