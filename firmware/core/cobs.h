/* Consistent overhead byte stuffing, both ways, without buffering a whole frame. */
#ifndef COBS_H
#define COBS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef void (*cobs_sink)(const uint8_t *data, size_t size);

typedef struct {
    cobs_sink sink;
    uint8_t block[255]; /* code byte, then up to 254 bytes without a zero */
    size_t used;
    bool after_full_block;
} cobs_encoder;

void cobs_encoder_start(cobs_encoder *encoder, cobs_sink sink);
void cobs_encoder_put(cobs_encoder *encoder, const uint8_t *data, size_t size);
void cobs_encoder_finish(cobs_encoder *encoder);

typedef struct {
    uint8_t left;      /* bytes until the next code byte */
    bool zero_pending; /* the block before stands for a zero, if another block follows */
} cobs_decoder;

typedef enum { COBS_NOTHING, COBS_BYTE } cobs_result;

void cobs_decoder_start(cobs_decoder *decoder);
/* Takes one encoded byte, which is not 0; COBS_BYTE when `decoded` was set. */
cobs_result cobs_decoder_put(cobs_decoder *decoder, uint8_t encoded, uint8_t *decoded);
/* At the closing zero: false if a block was cut short. */
bool cobs_decoder_finish(const cobs_decoder *decoder);

#endif
