/*
 * A vendor engine without a vendor: describes itself from the model image as they do, and
 * "runs" by copying the first input byte into every output.
 */
#include "description.h"
#include "model_store.h"

#include <string.h>

#define HALF (1u << 20)

static uint8_t *ram;
static size_t ram_bytes;

const char *engine_init(void) {
    const char *failure = description_load("tflm", "none");
    if (failure == NULL)
        ram = model_ram_take(MODEL_RAM_INTERNAL, &ram_bytes);
    return failure;
}

void *engine_input_data(uint16_t index) {
    (void)index;
    return ram;
}

const void *engine_output_data(uint16_t index) {
    (void)index;
    return ram + HALF;
}

const void *engine_layer_data(uint16_t index) {
    (void)index;
    return ram + HALF;
}

const char *engine_invoke(uint16_t layers, engine_observer observer, void *context) {
    for (uint16_t i = 0; i < layers; i++) {
        memset(ram + HALF, ram[0], engine_get_layer(i)->output.bytes);
        if (observer != NULL)
            observer(context, i);
    }
    return NULL;
}

void engine_get_memory(engine_memory *memory) {
    *memory = (engine_memory){(uint32_t)ram_bytes, 0, description_image()->artifact_bytes};
}
