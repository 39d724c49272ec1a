#pragma once
#include "esp_idf_version.h"
#include "freertos/FreeRTOS.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
typedef int uart_port_t;
typedef struct {
    int baud_rate;
    int data_bits;
    int parity;
    int stop_bits;
    int flow_ctrl;
    int source_clk;
} uart_config_t;
enum { UART_DATA_8_BITS = 3, UART_PARITY_DISABLE = 0, UART_STOP_BITS_1 = 1 };
enum { UART_HW_FLOWCTRL_DISABLE = 0 };
#if ESP_IDF_VERSION < ESP_IDF_VERSION_VAL(5, 0, 0)
enum { UART_SCLK_APB = 4 };
#else
enum { UART_SCLK_DEFAULT = 4 };
#endif
esp_err_t uart_driver_install(uart_port_t port, int rx_bytes, int tx_bytes, int events, QueueHandle_t *queue,
                              int flags);
esp_err_t uart_param_config(uart_port_t port, const uart_config_t *config);
esp_err_t uart_set_baudrate(uart_port_t port, uint32_t baud);
esp_err_t uart_get_baudrate(uart_port_t port, uint32_t *baud);
esp_err_t uart_wait_tx_done(uart_port_t port, TickType_t ticks);
esp_err_t uart_get_buffered_data_len(uart_port_t port, size_t *size);
int uart_write_bytes(uart_port_t port, const void *data, size_t size);
int uart_read_bytes(uart_port_t port, void *data, uint32_t size, TickType_t ticks);
