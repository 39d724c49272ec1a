/* What the files of this platform tell each other. */
#ifndef BOARD_H
#define BOARD_H

#include <stdbool.h>

/* Reads chip, clocks and memories; before platform_identity_line() and board_is_emulated(). */
void board_identify(void);

/* Espressif's emulators start with blank eFuses: no factory MAC. A chip always has one. */
bool board_is_emulated(void);

/* "internal" or "psram": where the engine's arena was taken; "" before, or when the engine does so itself. */
const char *board_arena(void);

#endif
