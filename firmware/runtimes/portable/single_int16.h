/*
 * float32 to int16 and back, by the floats' bit patterns: QUANTIZE divides by the scale and rounds
 * halves away from zero, DEQUANTIZE multiplies.
 */
#ifndef PORTABLE_SINGLE_INT16_H
#define PORTABLE_SINGLE_INT16_H

#include <stdint.h>

#include "fixed_point.h"
#include "single.h"

/* `scale` is positive and finite. NaN gives the limit on the side of its sign bit. */
static inline int16_t quantise_int16(uint32_t value, uint32_t scale) {
    const int32_t negative = (int32_t)(value >> 31);
    const uint32_t magnitude = value & 0x7fffffffu;
    const single_parts parts =
        single_split(magnitude < SINGLE_INFINITY ? single_quotient(magnitude, scale) : SINGLE_INFINITY);
    const int32_t shift = 150 - parts.exponent;
    int32_t steps = 0;

    if (shift < 8) {
        return (int16_t)(negative ? INT16_MIN : INT16_MAX);
    }
    if (shift <= 24) {
        steps = (int32_t)((parts.mantissa + (UINT32_C(1) << (shift - 1))) >> shift);
    }
    return (int16_t)clamp(negative ? -steps : steps, INT16_MIN, INT16_MAX);
}

static inline uint32_t dequantise_int16(int16_t value, uint32_t scale) {
    const uint32_t magnitude = (uint32_t)(value < 0 ? -value : value);

    return single_product(single_of(magnitude, 0), scale) | (value < 0 ? UINT32_C(1) << 31 : 0u);
}

#endif
