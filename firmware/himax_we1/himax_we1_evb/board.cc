#include "board.h"

#include "hx_drv_tflm.h"

void BoardInit() {
    // The SDK's debug_log.cc sets the same rate again with its first line.
    hx_drv_uart_initial(UART_BR_115200);
    hx_drv_tick_start();
}

bool BoardGetByte(uint8_t *byte) {
    // Into a local variable: others report that the gnu build writes wrongly through a pointer to a global.
    uint8_t received = 0;
    if (hx_drv_uart_getchar(&received) != HX_DRV_LIB_PASS) {
        return false;
    }
    *byte = received;
    return true;
}

uint32_t BoardTicks() {
    uint32_t ticks = 0;
    hx_drv_tick_get(&ticks);
    return ticks;
}

void BoardWait(uint32_t ticks) {
    uint32_t start = BoardTicks();
    while (BoardTicks() - start < ticks) {
    }
}
