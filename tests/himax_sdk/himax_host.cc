/* The board on this computer: its UART is standard input and output, its clock this one's. */
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "hx_drv_tflm.h"

namespace {
bool initialised = false;
bool ticking = false;
} // namespace

HX_DRV_ERROR_E hx_drv_uart_initial(HX_DRV_UART_BAUDRATE_E baud_rate) {
    initialised = baud_rate == UART_BR_115200;
    return HX_DRV_LIB_PASS;
}

HX_DRV_ERROR_E hx_drv_uart_print(const char *fmt, ...) {
    va_list arguments;
    va_start(arguments, fmt);
    vprintf(fmt, arguments);
    va_end(arguments);
    fflush(stdout);
    return initialised ? HX_DRV_LIB_PASS : HX_DRV_LIB_ERROR;
}

/* Ends the program where the line does. Waits a moment for a byte: no real clock to spin against. */
HX_DRV_ERROR_E hx_drv_uart_getchar(uint8_t *pch) {
    struct pollfd line = {STDIN_FILENO, POLLIN, 0};
    if (!initialised || poll(&line, 1, 1) <= 0) {
        return HX_DRV_LIB_NODATA;
    }
    if (read(STDIN_FILENO, pch, 1) != 1) {
        exit(0);
    }
    return HX_DRV_LIB_PASS;
}

HX_DRV_ERROR_E hx_drv_tick_start(void) {
    ticking = true;
    return HX_DRV_LIB_PASS;
}

HX_DRV_ERROR_E hx_drv_tick_get(uint32_t *tick) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t ticks = (uint64_t)now.tv_sec * 400000000u + (uint64_t)now.tv_nsec * 2 / 5;
    *tick = (uint32_t)ticks;
    return ticking ? HX_DRV_LIB_PASS : HX_DRV_LIB_ERROR;
}
