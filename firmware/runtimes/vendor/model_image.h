/*
 * A model as a vendor engine takes it: the artifact file, preceded by what the
 * bench wants to know of it and the library would not say on the chip (names,
 * layers, multiply-accumulates, digest). harness/toolchains/esp_idf/model_image.py
 * writes it; it lies in a flash partition of its own or in the app.
 *
 * All integers are little-endian, offsets count from the image's first byte,
 * strings end with a zero byte.
 *
 *   0  8 bytes  "NNMODEL1"
 *   8  u32      bytes of the whole image
 *  12  u32      CRC-32 of everything behind this field
 *  16  u32      offset of the artifact, a multiple of 64
 *  20  u32      bytes of the artifact
 *  24  u32 x 3  offsets of the strings: runtime, model, SHA-256 of the artifact (64 hex digits)
 *  36  u16 x 4  inputs, outputs, layers, zero
 *  44           the inputs, the outputs (44 bytes each), the layers (56 bytes each)
 *
 *   tensor: u8 dtype, u8 rank, u16 zero, u32 bytes, u32 scale bits, i32 zero point,
 *           i32 x 6 dims, u32 offset of the name; meanings as in engine.h
 *   layer:  u64 macs, u32 offset of the operator's name, tensor
 */
#ifndef MODEL_IMAGE_H
#define MODEL_IMAGE_H

#include "engine.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    const uint8_t *data;
    const uint8_t *artifact;
    uint32_t artifact_bytes;
    const char *runtime;
    const char *model;
    const char *sha256;
    uint16_t inputs;
    uint16_t outputs;
    uint16_t layers;
} model_image;

/* Checks every offset and the CRC; nothing is copied, so `data` must stay. `available` is what can
 * be read there, as a rule more than the image. NULL, or why it is no such image. */
const char *model_image_open(model_image *image, const uint8_t *data, size_t available);

/* index counts the inputs first, then the outputs. */
void model_image_tensor(const model_image *image, uint16_t index, engine_tensor *tensor);
void model_image_layer(const model_image *image, uint16_t index, engine_layer *layer);

#ifdef __cplusplus
}
#endif

#endif
