#include "uart16550.h"

#include "machine.h"

#define REGISTER(index) (*(volatile uint8_t *)(UART_BASE + (index)*UART_STRIDE_BYTES))

#define DATA         REGISTER(0)
#define DIVISOR_LOW  REGISTER(0)
#define DIVISOR_HIGH REGISTER(1)
#define INTERRUPTS   REGISTER(1)
#define FIFO_CONTROL REGISTER(2)
#define INTERRUPT_ID REGISTER(2)
#define LINE_CONTROL REGISTER(3)
#define MODEM        REGISTER(4)
#define LINE_STATUS  REGISTER(5)

#define INTERRUPT_RECEIVED 0x01u
#define INTERRUPT_ROOM     0x02u
#define FIFO_ON_TRIGGER_14 0xC7u
#define TRIGGER_BYTES      14u
#define REASON_MASK        0x0Fu
#define REASON_TRIGGER     0x04u
#define MODEM_LOOPBACK     0x10u
#define LINE_8N1           0x03u
#define LINE_DIVISOR       0x80u
#define STATUS_RECEIVED    0x01u
#define STATUS_ROOM        0x20u
#define STATUS_IDLE        0x40u

#define FIFO_BYTES 16u

void uart_start(void) {
    /* The emulated wire has no rate, but the divisor sets QEMU's FIFO timeout,
     * after which a short message raises its interrupt: the shortest there is. */
    LINE_CONTROL = LINE_8N1 | LINE_DIVISOR;
    DIVISOR_LOW = 1;
    DIVISOR_HIGH = 0;
    LINE_CONTROL = LINE_8N1;
    /* With a trigger of 1, QEMU hands over one byte per turn of its main loop:
     * a tenth of the throughput. */
    FIFO_CONTROL = FIFO_ON_TRIGGER_14;
    /* A byte that came after the machine's reset went with the FIFO's clearing. QEMU takes it for unread
     * and delivers no more until someone reads. */
    (void)DATA;
    INTERRUPTS = INTERRUPT_RECEIVED;
}

size_t uart_receive(uint8_t *data, size_t size) {
    size_t got = 0;
    /* Every access stops QEMU's -icount, and every byte read sends its main loop for more, but for bytes
     * read in loopback: so no status between these, and one turn for all. Half the time of a byte. */
    if (size >= TRIGGER_BYTES && (INTERRUPT_ID & REASON_MASK) == REASON_TRIGGER) {
        MODEM = MODEM_LOOPBACK;
        while (got < TRIGGER_BYTES - 1)
            data[got++] = DATA;
        MODEM = 0;
        data[got++] = DATA;
        return got;
    }
    while (got < size && (LINE_STATUS & STATUS_RECEIVED) != 0)
        data[got++] = DATA;
    return got;
}

size_t uart_send(const uint8_t *data, size_t size) {
    if ((LINE_STATUS & STATUS_ROOM) == 0)
        return 0;
    size_t take = size < FIFO_BYTES ? size : FIFO_BYTES;
    for (size_t i = 0; i < take; i++)
        DATA = data[i];
    return take;
}

bool uart_sent_all(void) {
    return (LINE_STATUS & STATUS_IDLE) != 0;
}

void uart_wake_on_room(bool wake) {
    INTERRUPTS = wake ? INTERRUPT_RECEIVED | INTERRUPT_ROOM : INTERRUPT_RECEIVED;
}
