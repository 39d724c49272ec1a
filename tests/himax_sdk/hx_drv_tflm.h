/*
 * Stands in for the Himax SDK's header of this name, as far as our firmware uses it: names, types and
 * values as published with himax_we1_sdk. himax_host.cc puts them over standard input and output.
 */
#ifndef HX_DRV_TFLM_H
#define HX_DRV_TFLM_H

#include <stdint.h>

typedef enum __attribute__((packed)) {
    HX_DRV_LIB_PASS = 0,
    HX_DRV_LIB_ERROR = -1,
    HX_DRV_LIB_NODATA = -2,
} HX_DRV_ERROR_E;

typedef enum __attribute__((packed)) {
    UART_BR_115200 = 5,
} HX_DRV_UART_BAUDRATE_E;

#ifdef __cplusplus
extern "C" {
#endif
HX_DRV_ERROR_E hx_drv_uart_initial(HX_DRV_UART_BAUDRATE_E baud_rate);
HX_DRV_ERROR_E hx_drv_uart_print(const char *fmt, ...);
HX_DRV_ERROR_E hx_drv_uart_getchar(uint8_t *pch);
HX_DRV_ERROR_E hx_drv_tick_start(void);
HX_DRV_ERROR_E hx_drv_tick_get(uint32_t *tick);
#ifdef __cplusplus
}
#endif

#endif
