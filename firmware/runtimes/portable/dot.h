/*
 * Dot products of int8 vectors, the inner loop of every convolution and fully
 * connected layer. The planner has bounded each sum: none overflows int32.
 */
#ifndef PORTABLE_DOT_H
#define PORTABLE_DOT_H

#include <stdint.h>

/* sum + a . b */
static inline int32_t dot(int32_t sum, const int8_t *a, const int8_t *b, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

/* sum + (a + offset) . b: beside padding the input's zero point cannot go into
 * the bias, because the taps that fall outside do not count. */
static inline int32_t dot_offset(int32_t sum, const int8_t *a, int32_t offset, const int8_t *b,
                                 int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        sum += (a[i] + offset) * b[i];
    }
    return sum;
}

/* The same over every stride-th element: one channel of a depthwise filter. */
static inline int32_t dot_strided(int32_t sum, const int8_t *a, int32_t a_stride, int32_t offset,
                                  const int8_t *b, int32_t b_stride, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        sum += (*a + offset) * *b;
        a += a_stride;
        b += b_stride;
    }
    return sum;
}

#endif
