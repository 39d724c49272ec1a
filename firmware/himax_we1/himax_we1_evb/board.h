/* The board's UART and clock. board.cc is the only file of this example that calls the Himax SDK. */
#ifndef BOARD_H
#define BOARD_H

#include <stdint.h>

// hx_drv_tflm.h: "WE_I working frequency which is 400Mhz".
const uint32_t kBoardTicksPerSecond = 400000000;

void BoardInit();

// False when nothing has arrived.
bool BoardGetByte(uint8_t *byte);

// Counts up and wraps after 10.7 s.
uint32_t BoardTicks();

void BoardWait(uint32_t ticks);

#endif
