/*
 * The mean of a pooling window, rounded to nearest, halves away from zero,
 * without division: the planner gives 2^bits / count, rounded up, and has checked
 * that the result is exact for every sum of that many values.
 */
#ifndef PORTABLE_AVERAGE_H
#define PORTABLE_AVERAGE_H

#include <stdint.h>

static inline int32_t rounded_quotient(int32_t sum, int32_t count, int32_t reciprocal, int32_t bits) {
    const int32_t magnitude = (sum < 0 ? -sum : sum) + (count >> 1);
    const int32_t quotient = (int32_t)(((int64_t)magnitude * reciprocal) >> bits);

    return sum < 0 ? -quotient : quotient;
}

#endif
