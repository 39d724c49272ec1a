/* Bytes over a UART; by default the one with the console, at the pins the chip resets to. */
#include "serial.h"

#include "older_idf.h"

#include "driver/uart.h"
#if OLDER_IDF
#include "esp_vfs_dev.h"
#define uart_vfs_dev_use_driver(port) esp_vfs_dev_uart_use_driver(port)
#else
#include "driver/uart_vfs.h"
#endif
#include "sdkconfig.h"

#define PORT         ((uart_port_t)CONFIG_HARNESS_UART)
#define FIRST_BAUD   CONFIG_HARNESS_UART_BAUD
#define SLOWEST_BAUD 1200u
#define FASTEST_BAUD 3000000u
#define BYTE_AT_ONCE 1u
#define NO_EVENTS    0
#define NO_TX_BUFFER 0 /* what is sent has left before the next inference begins */
#define NO_FLAGS     0

void serial_open(void) {
    const uart_config_t line = {
        .baud_rate = FIRST_BAUD,
        .data_bits = UART_DATA_8_BITS,
        .parity = UART_PARITY_DISABLE,
        .stop_bits = UART_STOP_BITS_1,
        .flow_ctrl = UART_HW_FLOWCTRL_DISABLE,
        .source_clk = UART_SCLK_DEFAULT,
    };
    ESP_ERROR_CHECK(uart_driver_install(PORT, (int)SERIAL_RX_BYTES, NO_TX_BUFFER, NO_EVENTS, NULL, NO_FLAGS));
    ESP_ERROR_CHECK(uart_param_config(PORT, &line));
    uart_vfs_dev_use_driver(PORT);
}

size_t serial_read(uint8_t *data, size_t size, TickType_t ticks) {
    /* uart_read_bytes() waits for all it is asked for. */
    int first = uart_read_bytes(PORT, data, BYTE_AT_ONCE, ticks);
    size_t waiting = 0;
    if (first <= 0)
        return 0;
    uart_get_buffered_data_len(PORT, &waiting);
    if (waiting > size - BYTE_AT_ONCE)
        waiting = size - BYTE_AT_ONCE;
    int more = waiting > 0 ? uart_read_bytes(PORT, data + BYTE_AT_ONCE, (uint32_t)waiting, 0) : 0;
    return BYTE_AT_ONCE + (more > 0 ? (size_t)more : 0u);
}

void serial_write(const uint8_t *data, size_t size) {
    uart_write_bytes(PORT, data, size);
}

void serial_drain(void) {
    uart_wait_tx_done(PORT, portMAX_DELAY);
}

bool serial_can_make(uint32_t baud) {
    return baud >= SLOWEST_BAUD && baud <= FASTEST_BAUD;
}

void serial_set_baud(uint32_t baud) {
    uart_set_baudrate(PORT, baud);
}

uint32_t serial_get_baud(void) {
    uint32_t baud = 0;
    uart_get_baudrate(PORT, &baud);
    return baud;
}
