/* What the files of this platform tell each other. */
#ifndef BOARD_H
#define BOARD_H

#include <stdbool.h>

/* Reads chip, clocks and memories; before platform_identity_line() and board_is_emulated(). */
void board_identify(void);

/* Espressif's emulators start with blank eFuses: no factory MAC. A chip always has one. */
bool board_is_emulated(void);

/* For IDENTIFY: where the engine's arena is, "internal" or "psram". */
void board_set_arena(const char *where);

#endif
