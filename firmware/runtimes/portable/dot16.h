/*
 * Dot products of int16 data with int8 or int16 weights. The planner knows the
 * largest sum: it takes the 32-bit ones where they suffice, else the wide ones,
 * which need three instructions more for each product on a 32-bit core.
 *
 * One macro makes the four of them; they differ in two types only.
 */
#ifndef PORTABLE_DOT16_H
#define PORTABLE_DOT16_H

#include <stdint.h>

/* NAME: sum + a . b; NAME_strided: the same over every stride-th element, one
 * channel of a depthwise filter. A product of two int16 always fits int32. */
#define DEFINE_DOT16(name, sum_type, weight_type)                                                            \
    static inline sum_type name(sum_type sum, const int16_t *a, const weight_type *b, int32_t count) {       \
        for (; count >= 2; count -= 2) {                                                                     \
            sum += (int32_t)a[0] * b[0];                                                                     \
            sum += (int32_t)a[1] * b[1];                                                                     \
            a += 2;                                                                                          \
            b += 2;                                                                                          \
        }                                                                                                    \
        if (count > 0) {                                                                                     \
            sum += (int32_t)*a * *b;                                                                         \
        }                                                                                                    \
        return sum;                                                                                          \
    }                                                                                                        \
                                                                                                             \
    static inline sum_type name##_strided(sum_type sum, const int16_t *a, int32_t a_stride,                  \
                                          const weight_type *b, int32_t b_stride, int32_t count) {           \
        for (; count > 0; count--) {                                                                         \
            sum += (int32_t)*a * *b;                                                                         \
            a += a_stride;                                                                                   \
            b += b_stride;                                                                                   \
        }                                                                                                    \
        return sum;                                                                                          \
    }

DEFINE_DOT16(dot16x8, int32_t, int8_t)
DEFINE_DOT16(dot16x8_wide, int64_t, int8_t)
DEFINE_DOT16(dot16x16, int32_t, int16_t)
DEFINE_DOT16(dot16x16_wide, int64_t, int16_t)

#endif
