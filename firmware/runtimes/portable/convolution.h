/*
 * A row of a convolution by tiles, of int8 and with a factor for each channel: one function for all layers
 * of the model, which differ in a table. Outside the sums' own loops a shape that is no constant costs
 * little, and a layer takes a quarter of the code.
 */
#ifndef PORTABLE_CONVOLUTION_H
#define PORTABLE_CONVOLUTION_H

#include <stdint.h>

#include "fixed_point.h"
#include "tile.h"

typedef struct {
    const int8_t *weights; /* tile.h says in which order */
    const int32_t *bias;
    const int32_t *multipliers;
    const uint8_t *right_shifts;
    filter_window window;
    int32_t depth; /* products in a sum */
    int32_t channels;
    int32_t zero_point;
    int32_t low;
    int32_t high;
} convolution;

/* Of a model with few such layers, each has it in itself, where its shape is constant: fewer instructions,
 * and hardly more flash. model.c says so ahead of this. */
#ifndef SHARED_ROWS
#define SHARED_ROWS 1
#endif

#if !SHARED_ROWS
#define CONVOLUTION_KERNEL static inline __attribute__((always_inline))
#elif defined __clang__
#define CONVOLUTION_KERNEL static __attribute__((noinline, unused))
#else
#define CONVOLUTION_KERNEL static __attribute__((noinline, noclone, unused))
#endif

/* `width` output pixels whose windows begin at `inputs`; returns where the next row's begin. */
CONVOLUTION_KERNEL int8_t *convolve_row(int8_t *output, const int8_t *inputs, const convolution *layer,
                                        int32_t width) {
    /* Copies: a store to `output` could be one to `layer`, as far as C knows. */
    const int32_t *const multipliers = layer->multipliers;
    const uint8_t *const right_shifts = layer->right_shifts;
    const int32_t channels = layer->channels;
    const int32_t zero_point = layer->zero_point;
    const int32_t low = layer->low;
    const int32_t high = layer->high;
    /* No row of the model has two pixels, or some have. */
    const int32_t end = (TILES & (TILE_8X2 | TILE_1X2)) == 0 ? 1 : width;
    int32_t sums[TILE_SUMS];

    for (int32_t x = 0, pixels; x < end; x += pixels) {
        pixels = x + TILE_PIXELS <= end ? TILE_PIXELS : 1;
        for (int32_t first = 0, count; first < channels; first += count) {
            const int32_t *next = sums;

            count = sum_tile(sums, inputs, layer->weights + first * layer->depth, layer->bias + first,
                             &layer->window, channels - first, pixels);
            for (int32_t c = first; c < first + count; c++) {
                const int32_t multiplier = multipliers[c];
                const int32_t right_shift = right_shifts[c];

                output[c] =
                    (int8_t)clamp(requantise_sum(*next++, multiplier, right_shift, zero_point), low, high);
                if (pixels == TILE_PIXELS) {
                    output[channels + c] = (int8_t)clamp(
                        requantise_sum(*next++, multiplier, right_shift, zero_point), low, high);
                }
            }
        }
        inputs += pixels * layer->window.pixel_stride;
        output += pixels * channels;
    }
    return output;
}

/* `height` such rows, the first window of each `row_stride` inputs behind that of the one before. */
CONVOLUTION_KERNEL void convolve(int8_t *output, const int8_t *input, const convolution *layer,
                                 int32_t height, int32_t width, int32_t row_stride) {
    for (int32_t y = 0; y < height; y++, input += row_stride) {
        output = convolve_row(output, input, layer, width);
    }
}

#endif
