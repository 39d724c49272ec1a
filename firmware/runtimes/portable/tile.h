/*
 * The sums of convolutions and fully connected layers, a tile at a time: eight
 * output channels at two output pixels, so that a loaded input serves eight
 * products and a loaded weight two. The planner has bounded every sum: none
 * overflows int32. What becomes of a sum is the caller's business. Inputs are
 * int8 or int16, weights int8.
 *
 * Weights lie in the order in which they are read: of eight channels those of
 * one input side by side. Channels that fill no eight follow, one by one.
 *
 * The kernels are functions of their own that all layers share: shapes come as
 * arguments, which costs nothing in the inner loops.
 */
#ifndef PORTABLE_TILE_H
#define PORTABLE_TILE_H

#include <stdint.h>

#include "instruction_set.h"

enum {
    TILE_CHANNELS = 8,
    TILE_PIXELS = 2,
    TILE_SUMS = TILE_CHANNELS * TILE_PIXELS,
    TILE_AT_ONCE = MANY_REGISTERS ? 8 : 4
};

/* The kernels, channels by pixels. A model that does not call them all defines TILES, and the others
 * take no flash. */
enum { TILE_8X2 = 1, TILE_8X1 = 2, TILE_1X2 = 4, TILE_1X1 = 8 };

#ifndef TILES
#define TILES (TILE_8X2 | TILE_8X1 | TILE_1X2 | TILE_1X1)
#endif

/* What lies under a filter: runs of `length` inputs side by side, 1 at least, each at an offset
 * from the first, and how far apart the windows of two neighbouring pixels are. */
typedef struct {
    int32_t runs;
    const int32_t *offsets;
    int32_t length;
    int32_t pixel_stride;
} filter_window;

#ifdef __clang__
#define TILE_KERNEL static __attribute__((noinline, unused))
#else
#define TILE_KERNEL static __attribute__((noinline, noclone, unused)) ENTERED_IN_THIS_ORDER
#endif

/* Inlined with constant channels, pixels and offsets, so that every sum becomes a register. */
#define TILE_PART static inline __attribute__((always_inline))

/* A loop over the sums would keep them in memory. */
TILE_PART void tile_copy_four(int32_t *to, const int32_t *from) {
    to[0] = from[0];
    to[1] = from[1];
    to[2] = from[2];
    to[3] = from[3];
}

TILE_PART void tile_copy(int32_t *to, const int32_t *from, int32_t count) {
    if (count < 4) {
        to[0] = from[0];
        to[count - 1] = from[count - 1];
        return;
    }
    tile_copy_four(to, from);
    tile_copy_four(to + 4, from + 4);
    if (count == 16) {
        tile_copy_four(to + 8, from + 8);
        tile_copy_four(to + 12, from + 12);
    }
}

TILE_PART void tile_multiply(int32_t *sums, int32_t weight, int32_t first, int32_t second, int32_t pixels) {
    sums[0] += first * weight;
    if (pixels == 2) {
        sums[1] += second * weight;
    }
}

TILE_PART void tile_four_channels(int32_t *sums, const int8_t *weights, int32_t first, int32_t second,
                                  int32_t pixels) {
#if SIGNED_BYTE_LOADS
    tile_multiply(sums, weights[0], first, second, pixels);
    tile_multiply(sums + pixels, weights[1], first, second, pixels);
    tile_multiply(sums + 2 * pixels, weights[2], first, second, pixels);
    tile_multiply(sums + 3 * pixels, weights[3], first, second, pixels);
#else
    typedef uint32_t __attribute__((may_alias)) four_weights;
    const uint32_t word = *(const four_weights *)(const void *)weights;

    tile_multiply(sums, (int32_t)(word << 24) >> 24, first, second, pixels);
    tile_multiply(sums + pixels, (int32_t)(word << 16) >> 24, first, second, pixels);
    tile_multiply(sums + 2 * pixels, (int32_t)(word << 8) >> 24, first, second, pixels);
    tile_multiply(sums + 3 * pixels, (int32_t)word >> 24, first, second, pixels);
#endif
}

/* One input of `size` bytes. */
TILE_PART int32_t tile_input(const uint8_t *from, int32_t size) {
    const void *const place = from;

    return size == 2 ? *(const int16_t *)place : *(const int8_t *)place;
}

/* Adds all products of one input of each pixel. */
TILE_PART void tile_add(int32_t *sums, const int8_t *weights, int32_t channels, const uint8_t *a,
                        const uint8_t *b, int32_t size, int32_t pixels) {
    const int32_t first = tile_input(a, size);
    const int32_t second = pixels == 2 ? tile_input(b, size) : 0;

    if (channels == 1) {
        tile_multiply(sums, *weights, first, second, pixels);
        return;
    }
    tile_four_channels(sums, weights, first, second, pixels);
    if (channels == 8) {
        tile_four_channels(sums + 4 * pixels, weights + 4, first, second, pixels);
    }
}

/* Adds a run by fours, those that fill no four first; returns the weights behind it. The parameters are
 * tile_window's. */
TILE_PART const int8_t *tile_run(int32_t *sums, const int8_t *weights, int32_t step, int32_t channels,
                                 const uint8_t *a, const uint8_t *b, int32_t length, int32_t size,
                                 int32_t pixels) {
    const uint8_t *end = a + (length & 3) * size;

    while (a != end) {
        tile_add(sums, weights, channels, a, b, size, pixels);
        a += size;
        b += size;
        weights += step;
    }
    end += (length & ~3) * size;
    while (a != end) {
        tile_add(sums, weights, channels, a, b, size, pixels);
        tile_add(sums, weights + step, channels, a + size, b + size, size, pixels);
        tile_add(sums, weights + 2 * step, channels, a + 2 * size, b + 2 * size, size, pixels);
        tile_add(sums, weights + 3 * step, channels, a + 3 * size, b + 3 * size, size, pixels);
        a += 4 * size;
        b += 4 * size;
        weights += 4 * step;
    }
    return weights;
}

/* The same, but the loop is entered where as many of a four are left: a fifth less code, and fewer
 * instructions, as long as all sums are in registers. */
TILE_PART const int8_t *tile_run_entered(int32_t *sums, const int8_t *weights, int32_t step, int32_t channels,
                                         const uint8_t *a, const uint8_t *b, int32_t length, int32_t size,
                                         int32_t pixels) {
    const uint8_t *const end = a + length * size;
    const int32_t skipped = -length & 3;

    a -= skipped * size;
    b -= skipped * size;
    weights -= skipped * step;
    switch (skipped) {
        do {
        case 0:
            tile_add(sums, weights, channels, a, b, size, pixels);
            /* fall through */
        case 1:
            tile_add(sums, weights + step, channels, a + size, b + size, size, pixels);
            /* fall through */
        case 2:
            tile_add(sums, weights + 2 * step, channels, a + 2 * size, b + 2 * size, size, pixels);
            /* fall through */
        default:
            tile_add(sums, weights + 3 * step, channels, a + 3 * size, b + 3 * size, size, pixels);
            a += 4 * size;
            b += 4 * size;
            weights += 4 * step;
        } while (a != end);
    }
    return weights;
}

/* `size`: bytes of an input; `step`: from its weight to that of the next input, of the same channel. */
TILE_PART void tile_window(int32_t *result, const void *input, int32_t size, const int8_t *weights,
                           int32_t step, const int32_t *bias, const filter_window *window, int32_t channels,
                           int32_t pixels) {
    int32_t sums[TILE_SUMS];

    for (int32_t c = 0; c < channels; c++) {
        for (int32_t p = 0; p < pixels; p++) {
            result[c * pixels + p] = bias[c];
        }
    }
    tile_copy(sums, result, channels * pixels);
    for (int32_t run = 0; run < window->runs; run++) {
        const uint8_t *a = (const uint8_t *)input + window->offsets[run] * size;
        const uint8_t *b = a + window->pixel_stride * size;

        if (MANY_REGISTERS || pixels == 1) {
            weights = tile_run_entered(sums, weights, step, channels, a, b, window->length, size, pixels);
        } else {
            weights = tile_run(sums, weights, step, channels, a, b, window->length, size, pixels);
        }
    }
    tile_copy(result, sums, channels * pixels);
}

/* Whether to take the first of two kernels, or pairs of them: it is wanted, or the model calls no other. */
TILE_PART int32_t tile_first(int32_t first, int32_t second, int32_t wanted) {
    return (TILES & first) != 0 && (wanted || (TILES & second) == 0);
}

/* The kernels of one type of input, and `sum`: the sums of the next channels, [channel][pixel];
 * returns how many channels they are of. */
#define DEFINE_TILES(tile, sum, data)                                                                        \
    TILE_KERNEL void tile##_8x2(int32_t *result, const data *input, const int8_t *weights,                   \
                                const int32_t *bias, const filter_window *window) {                          \
        for (int32_t part = 0; part < 8; part += TILE_AT_ONCE) {                                             \
            tile_window(result + 2 * part, input, sizeof *input, weights + part, 8, bias + part, window,     \
                        TILE_AT_ONCE, 2);                                                                    \
        }                                                                                                    \
    }                                                                                                        \
                                                                                                             \
    TILE_KERNEL void tile##_8x1(int32_t *result, const data *input, const int8_t *weights,                   \
                                const int32_t *bias, const filter_window *window) {                          \
        tile_window(result, input, sizeof *input, weights, 8, bias, window, 8, 1);                           \
    }                                                                                                        \
                                                                                                             \
    TILE_KERNEL void tile##_1x2(int32_t *result, const data *input, const int8_t *weights,                   \
                                const int32_t *bias, const filter_window *window) {                          \
        tile_window(result, input, sizeof *input, weights, 1, bias, window, 1, 2);                           \
    }                                                                                                        \
                                                                                                             \
    TILE_KERNEL void tile##_1x1(int32_t *result, const data *input, const int8_t *weights,                   \
                                const int32_t *bias, const filter_window *window) {                          \
        tile_window(result, input, sizeof *input, weights, 1, bias, window, 1, 1);                           \
    }                                                                                                        \
                                                                                                             \
    static inline int32_t sum(int32_t *result, const data *input, const int8_t *weights,                     \
                              const int32_t *bias, const filter_window *window, int32_t channels_left,       \
                              int32_t pixels) {                                                              \
        if (tile_first(TILE_8X2 | TILE_8X1, TILE_1X2 | TILE_1X1, channels_left >= TILE_CHANNELS)) {          \
            if (tile_first(TILE_8X2, TILE_8X1, pixels == 2)) {                                               \
                tile##_8x2(result, input, weights, bias, window);                                            \
            } else {                                                                                         \
                tile##_8x1(result, input, weights, bias, window);                                            \
            }                                                                                                \
            return TILE_CHANNELS;                                                                            \
        }                                                                                                    \
        if (tile_first(TILE_1X2, TILE_1X1, pixels == 2)) {                                                   \
            tile##_1x2(result, input, weights, bias, window);                                                \
        } else {                                                                                             \
            tile##_1x1(result, input, weights, bias, window);                                                \
        }                                                                                                    \
        return 1;                                                                                            \
    }

DEFINE_TILES(tile, sum_tile, int8_t)
DEFINE_TILES(tile16, sum_tile16, int16_t)

#endif
