/*
 * What a runtime gives the bench: the tensors and layers of one network, a way
 * to run it, and what it used. One firmware image links exactly one engine.
 *
 * The engine knows nothing of frames, UARTs or boards; the core (core/) knows
 * nothing of operators. Nothing here allocates after engine_init().
 */
#ifndef ENGINE_H
#define ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ENGINE_MAX_RANK 6u

/* Values travel on the wire: docs/protocol.md, DESCRIBE. */
typedef enum {
    ENGINE_INT8 = 1,
    ENGINE_UINT8 = 2,
    ENGINE_INT16 = 3,
    ENGINE_INT32 = 4,
    ENGINE_FLOAT32 = 5,
    ENGINE_BOOL = 6,
    ENGINE_INT64 = 7
} engine_dtype;

typedef struct {
    const char *name;
    engine_dtype dtype;
    uint8_t rank;
    int32_t dims[ENGINE_MAX_RANK];
    uint32_t bytes;
    /* IEEE-754 bits of the scale, so that no target needs float arithmetic to
     * report it: real = (q - zero_point) * scale. 0 when not quantised. */
    uint32_t scale_bits;
    int32_t zero_point;
} engine_tensor;

typedef struct {
    const char *op; /* "CONV_2D" */
    uint64_t macs;
    engine_tensor output;
} engine_layer;

typedef struct {
    const char *runtime;         /* "tflm" */
    const char *kernels;         /* "portable", "vendor" */
    const char *model;           /* the model's name */
    const char *artifact_sha256; /* 64 hex digits */
    uint16_t inputs;
    uint16_t outputs;
    uint16_t layers;
} engine_info;

typedef struct {
    uint32_t arena_bytes;
    uint32_t arena_used_bytes;
    uint32_t model_bytes;
} engine_memory;

/* Called after each layer, while that layer's output is still whole. */
typedef void (*engine_observer)(void *context, uint16_t layer);

/* Once, before anything else. NULL, or why the engine cannot run. */
const char *engine_init(void);

const engine_info *engine_get_info(void);

/* Descriptors live as long as the image, a layer's until the next one is asked for.
 * index < the count in engine_info. */
const engine_tensor *engine_input(uint16_t index);
const engine_tensor *engine_output(uint16_t index);
const engine_layer *engine_get_layer(uint16_t index);

/* Where to write input bytes. Running the network may overwrite them. */
void *engine_input_data(uint16_t index);
/* Valid after engine_invoke() ran all layers, until the next input byte. */
const void *engine_output_data(uint16_t index);
/* Valid inside the observer for that layer, and after an engine_invoke() that
 * stopped right behind it. */
const void *engine_layer_data(uint16_t index);

/* Runs the first `layers` layers (at most engine_info.layers, which are all) and
 * calls `observer`, when it is not NULL, after each one.
 * NULL, or why it failed. */
const char *engine_invoke(uint16_t layers, engine_observer observer, void *context);

void engine_get_memory(engine_memory *memory);

#ifdef __cplusplus
}
#endif

#endif
