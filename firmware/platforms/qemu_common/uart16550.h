/* A 16550 with its FIFOs on, as QEMU emulates it. UART_BASE and UART_STRIDE_BYTES come from machine.h. */
#ifndef UART16550_H
#define UART16550_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void uart_start(void);
/* Bytes waiting, at most `size`. */
size_t uart_receive(uint8_t *data, size_t size);
/* As many of `size` bytes as the FIFO takes now, possibly none. */
size_t uart_send(const uint8_t *data, size_t size);
bool uart_sent_all(void);
/* Interrupt also when there is room to send (always on bytes received). */
void uart_wake_on_room(bool wake);

#endif
