/* Bytes over the USB-Serial-JTAG peripheral, which has no baud rate. */
#include "serial.h"

#include "driver/usb_serial_jtag.h"
#include "driver/usb_serial_jtag_vfs.h"

#define TX_BYTES 4096u
/* A host that does not read for so long is gone; what it missed it will ask for again. */
#define PATIENCE pdMS_TO_TICKS(1000)

void serial_open(void) {
    usb_serial_jtag_driver_config_t buffers = {.tx_buffer_size = TX_BYTES, .rx_buffer_size = SERIAL_RX_BYTES};
    ESP_ERROR_CHECK(usb_serial_jtag_driver_install(&buffers));
    usb_serial_jtag_vfs_use_driver();
}

size_t serial_read(uint8_t *data, size_t size, TickType_t ticks) {
    int got = usb_serial_jtag_read_bytes(data, (uint32_t)size, ticks);
    return got > 0 ? (size_t)got : 0u;
}

void serial_write(const uint8_t *data, size_t size) {
    while (size > 0) {
        size_t piece = size < TX_BYTES / 2u ? size : TX_BYTES / 2u;
        int sent = usb_serial_jtag_write_bytes(data, piece, PATIENCE);
        if (sent <= 0)
            return;
        data += sent;
        size -= (size_t)sent;
    }
}

void serial_drain(void) {
    usb_serial_jtag_wait_tx_done(PATIENCE);
}

bool serial_can_make(uint32_t baud) {
    (void)baud;
    return false;
}

void serial_set_baud(uint32_t baud) {
    (void)baud;
}

uint32_t serial_get_baud(void) {
    return 0;
}
