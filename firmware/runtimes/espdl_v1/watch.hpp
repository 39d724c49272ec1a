/* Told of each layer's output while it is whole; true: the run ends here. */
#pragma once

#include <stdint.h>

bool watch(uint16_t layer, const void *elements);
