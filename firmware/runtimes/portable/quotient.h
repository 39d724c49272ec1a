/*
 * n / d, rounded to nearest. d > 0, and the planner has made sure that 2n + d fits.
 */
#ifndef PORTABLE_QUOTIENT_H
#define PORTABLE_QUOTIENT_H

#include <stdint.h>

#include "fixed_point.h"

static inline int32_t quotient_half_up(int32_t n, int32_t d) {
    const int32_t doubled = 2 * n + d;

    /* C's division truncates: one less where that went up. */
    return doubled / (2 * d) - (doubled % (2 * d) < 0 ? 1 : 0);
}

static inline int32_t quotient_half_even(int32_t n, int32_t d) {
    const int32_t up = quotient_half_up(n, d);

    return up - ((2 * n + d) % (2 * d) == 0 && (up & 1) != 0 ? 1 : 0);
}

#endif
