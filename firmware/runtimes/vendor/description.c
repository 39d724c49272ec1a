#include "description.h"

#include "model_store.h"

#include <stdlib.h>
#include <string.h>

static model_image image;
static engine_tensor *tensors;
static engine_layer *layers;

/* What IDENTIFY says before there is a model. */
static engine_info info = {.runtime = "", .kernels = "", .model = "", .artifact_sha256 = ""};

const char *description_load(const char *runtime, const char *kernels) {
    size_t available = 0;
    info.runtime = runtime;
    info.kernels = kernels;
    const uint8_t *data = model_store_open(&available);
    const char *failure = model_image_open(&image, data, available);
    if (failure != NULL)
        return failure;
    info.model = image.model;
    info.artifact_sha256 = image.sha256;
    if (strcmp(image.runtime, runtime) != 0)
        return "the model image is for another runtime: flash this runtime's model";

    size_t count = (size_t)image.inputs + image.outputs;
    tensors = malloc(count * sizeof *tensors);
    layers = malloc(image.layers * sizeof *layers);
    if (tensors == NULL || (layers == NULL && image.layers > 0))
        return "no RAM for the tables of tensors and layers";
    for (uint16_t i = 0; i < count; i++)
        model_image_tensor(&image, i, &tensors[i]);
    for (uint16_t i = 0; i < image.layers; i++)
        model_image_layer(&image, i, &layers[i]);
    info.inputs = image.inputs;
    info.outputs = image.outputs;
    info.layers = image.layers;
    return NULL;
}

const model_image *description_image(void) {
    return &image;
}

const engine_info *engine_get_info(void) {
    return &info;
}

const engine_tensor *engine_input(uint16_t index) {
    return &tensors[index];
}

const engine_tensor *engine_output(uint16_t index) {
    return &tensors[image.inputs + index];
}

const engine_layer *engine_get_layer(uint16_t index) {
    return &layers[index];
}
