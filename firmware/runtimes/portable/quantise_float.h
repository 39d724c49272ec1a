/*
 * float32 to int8 without floating point: the planner has found, for every int8
 * value, the least float that reaches it; a binary search does the rest.
 */
#ifndef PORTABLE_QUANTISE_FLOAT_H
#define PORTABLE_QUANTISE_FLOAT_H

#include <stdint.h>

/* `bits` are those of the float, `thresholds` 255 ascending keys. A key orders
 * like its float: the bits, all but the sign inverted when it is negative. */
static inline int8_t quantise_float(uint32_t bits, const int32_t *thresholds) {
    const int32_t key = (int32_t)((bits & 0x80000000u) != 0u ? bits ^ 0x7fffffffu : bits);
    int32_t reached = 0; /* thresholds at or below the key */

    for (int32_t step = 128; step > 0; step >>= 1) {
        if (thresholds[reached + step - 1] <= key) {
            reached += step;
        }
    }
    return (int8_t)(reached - 128);
}

#endif
