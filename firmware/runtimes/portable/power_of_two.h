/*
 * ESP-DL's change of exponent: a shift, rounded to nearest. Halves go up on
 * most chips and to even on the ESP32-P4.
 *
 * 0 <= shift <= 30, and the planner has made sure that x + 2^(shift - 1) fits.
 * The wide ones are for the sums of int16 data.
 */
#ifndef PORTABLE_POWER_OF_TWO_H
#define PORTABLE_POWER_OF_TWO_H

#include <stdint.h>

#include "fixed_point.h"

static inline int32_t shift_half_up(int32_t x, int32_t shift) {
    return (x + ((1 << shift) >> 1)) >> shift;
}

static inline int32_t shift_half_even(int32_t x, int32_t shift) {
    const int32_t floor = x >> shift;
    const uint32_t unit = UINT32_C(1) << shift;
    const uint32_t twice_rest = ((uint32_t)x & (unit - 1u)) << 1;

    return floor + (twice_rest > unit || (twice_rest == unit && (floor & 1) != 0) ? 1 : 0);
}

static inline int64_t shift_half_up_wide(int64_t x, int32_t shift) {
    return (x + ((INT64_C(1) << shift) >> 1)) >> shift;
}

static inline int64_t shift_half_even_wide(int64_t x, int32_t shift) {
    const int64_t floor = x >> shift;
    const uint64_t unit = UINT64_C(1) << shift;
    const uint64_t twice_rest = ((uint64_t)x & (unit - 1u)) << 1;

    return floor + (twice_rest > unit || (twice_rest == unit && (floor & 1) != 0) ? 1 : 0);
}

#endif
