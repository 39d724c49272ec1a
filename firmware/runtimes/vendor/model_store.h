/*
 * Where a vendor engine finds its model and the RAM to run it. A platform that
 * runs vendor engines implements this beside platform.h.
 */
#ifndef MODEL_STORE_H
#define MODEL_STORE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The model image (model_image.h), readable as memory for ever, at a multiple of 64.
 * NULL if there is none; `available` then stays 0. */
const uint8_t *model_store_open(size_t *available);

typedef enum { MODEL_RAM_INTERNAL, MODEL_RAM_EXTERNAL } model_ram;

/* The largest piece of RAM of a kind that may be taken, at a multiple of 16; NULL if there is none. */
uint8_t *model_ram_take(model_ram kind, size_t *bytes);
void model_ram_give_back(uint8_t *ram);

#ifdef __cplusplus
}
#endif

#endif
