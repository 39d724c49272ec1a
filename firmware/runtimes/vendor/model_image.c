#include "model_image.h"

#include "bytes.h"
#include "crc32.h"

#include <string.h>

#define HEADER_BYTES 44u
#define TENSOR_BYTES 44u
#define LAYER_BYTES  56u

#define SIZE_AT    8u
#define CRC_AT     12u
#define CHECKED_AT 16u
#define STRINGS_AT 24u
#define COUNTS_AT  36u
#define ALIGNMENT  64u
#define SHA256_HEX 64u

static const char magic[8] = {'N', 'N', 'M', 'O', 'D', 'E', 'L', '1'};

/* The string at the offset stored at `field`, or NULL if it does not end inside the image. */
static const char *string_at(const uint8_t *data, uint32_t size, uint32_t field) {
    uint32_t offset = get_u32(data + field);
    for (uint32_t end = offset; end < size; end++)
        if (data[end] == 0)
            return (const char *)data + offset;
    return NULL;
}

static bool tensor_is_sound(const uint8_t *data, uint32_t size, uint32_t at) {
    return data[at] >= ENGINE_INT8 && data[at] <= ENGINE_INT64 && data[at + 1] <= ENGINE_MAX_RANK &&
           string_at(data, size, at + 40) != NULL;
}

static bool tables_are_sound(const uint8_t *data, uint32_t size, uint32_t tensors, uint32_t layers) {
    uint32_t at = HEADER_BYTES;
    for (uint32_t i = 0; i < tensors; i++, at += TENSOR_BYTES)
        if (!tensor_is_sound(data, size, at))
            return false;
    for (uint32_t i = 0; i < layers; i++, at += LAYER_BYTES)
        if (string_at(data, size, at + 8) == NULL || !tensor_is_sound(data, size, at + 12))
            return false;
    return true;
}

const char *model_image_open(model_image *image, const uint8_t *data, size_t available) {
    if (data == NULL || available < HEADER_BYTES || memcmp(data, magic, sizeof magic) != 0)
        return "no model image: flash the model partition";
    uint32_t size = get_u32(data + SIZE_AT);
    if (size < HEADER_BYTES || size > available)
        return "the model image is cut short: flash the model partition again";
    if (crc32(0, data + CHECKED_AT, size - CHECKED_AT) != get_u32(data + CRC_AT))
        return "the model image is damaged: flash the model partition again";

    uint32_t artifact = get_u32(data + 16), bytes = get_u32(data + 20);
    image->data = data;
    image->artifact = data + artifact;
    image->artifact_bytes = bytes;
    image->runtime = string_at(data, size, STRINGS_AT);
    image->model = string_at(data, size, STRINGS_AT + 4);
    image->sha256 = string_at(data, size, STRINGS_AT + 8);
    image->inputs = get_u16(data + COUNTS_AT);
    image->outputs = get_u16(data + COUNTS_AT + 2);
    image->layers = get_u16(data + COUNTS_AT + 4);

    uint32_t tensors = (uint32_t)image->inputs + image->outputs;
    bool sound = artifact % ALIGNMENT == 0 && artifact <= size && bytes <= size - artifact &&
                 image->runtime != NULL && image->model != NULL && image->sha256 != NULL &&
                 strlen(image->sha256) == SHA256_HEX && image->inputs > 0 && image->outputs > 0 &&
                 tensors * TENSOR_BYTES + image->layers * LAYER_BYTES <= size - HEADER_BYTES &&
                 tables_are_sound(data, size, tensors, image->layers);
    return sound ? NULL : "the model image contradicts itself: generate it again";
}

static void read_tensor(const uint8_t *data, uint32_t at, engine_tensor *tensor) {
    tensor->dtype = (engine_dtype)data[at];
    tensor->rank = data[at + 1];
    tensor->bytes = get_u32(data + at + 4);
    tensor->scale_bits = get_u32(data + at + 8);
    tensor->zero_point = (int32_t)get_u32(data + at + 12);
    for (uint32_t i = 0; i < ENGINE_MAX_RANK; i++)
        tensor->dims[i] = (int32_t)get_u32(data + at + 16 + 4 * i);
    tensor->name = (const char *)data + get_u32(data + at + 40);
}

void model_image_tensor(const model_image *image, uint16_t index, engine_tensor *tensor) {
    read_tensor(image->data, HEADER_BYTES + index * TENSOR_BYTES, tensor);
}

void model_image_layer(const model_image *image, uint16_t index, engine_layer *layer) {
    uint32_t tensors = (uint32_t)image->inputs + image->outputs;
    uint32_t at = HEADER_BYTES + tensors * TENSOR_BYTES + index * LAYER_BYTES;
    layer->macs = (uint64_t)get_u32(image->data + at) | (uint64_t)get_u32(image->data + at + 4) << 32;
    layer->op = (const char *)image->data + get_u32(image->data + at + 8);
    read_tensor(image->data, at + 12, &layer->output);
}
