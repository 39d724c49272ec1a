/*
 * model_store.h for vendor engines on platform `host`: the image is the file that
 * HARNESS_MODEL_IMAGE names, RAM comes from the C library.
 */
#include "model_store.h"

#include <stdio.h>
#include <stdlib.h>

#define IMAGE_VARIABLE "HARNESS_MODEL_IMAGE"
#define LARGEST_IMAGE  (16u << 20)
#define RAM_BYTES      (4u << 20)

const uint8_t *model_store_open(size_t *available) {
    const char *path = getenv(IMAGE_VARIABLE);
    FILE *file = path == NULL ? NULL : fopen(path, "rb");
    *available = 0;
    if (file == NULL)
        return NULL;
    void *image = NULL;
    if (posix_memalign(&image, 64, LARGEST_IMAGE) == 0)
        *available = fread(image, 1, LARGEST_IMAGE, file);
    fclose(file);
    return image;
}

uint8_t *model_ram_take(model_ram kind, size_t *bytes) {
    void *ram = NULL;
    *bytes = 0;
    if (kind != MODEL_RAM_INTERNAL || posix_memalign(&ram, 16, RAM_BYTES) != 0)
        return NULL;
    *bytes = RAM_BYTES;
    return ram;
}

void model_ram_give_back(uint8_t *ram) {
    free(ram);
}
