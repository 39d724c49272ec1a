#include "cobs.h"

void cobs_encoder_start(cobs_encoder *encoder, cobs_sink sink) {
    encoder->sink = sink;
    encoder->used = 1;
    encoder->after_full_block = false;
}

static void end_block(cobs_encoder *encoder) {
    encoder->block[0] = (uint8_t)encoder->used;
    encoder->sink(encoder->block, encoder->used);
    encoder->after_full_block = encoder->used == sizeof encoder->block;
    encoder->used = 1;
}

void cobs_encoder_put(cobs_encoder *encoder, const uint8_t *data, size_t size) {
    for (size_t i = 0; i < size; i++) {
        if (data[i] == 0) {
            end_block(encoder);
            continue;
        }
        encoder->block[encoder->used++] = data[i];
        if (encoder->used == sizeof encoder->block)
            end_block(encoder);
    }
}

void cobs_encoder_finish(cobs_encoder *encoder) {
    /* A full block stands for no zero, so nothing need follow it. */
    if (encoder->used > 1 || !encoder->after_full_block)
        end_block(encoder);
}

void cobs_decoder_start(cobs_decoder *decoder) {
    decoder->left = 0;
    decoder->zero_pending = false;
}

cobs_result cobs_decoder_put(cobs_decoder *decoder, uint8_t encoded, uint8_t *decoded) {
    if (decoder->left > 0) {
        decoder->left--;
        *decoded = encoded;
        return COBS_BYTE;
    }
    bool zero = decoder->zero_pending;
    decoder->left = (uint8_t)(encoded - 1);
    decoder->zero_pending = encoded != 0xFF;
    *decoded = 0;
    return zero ? COBS_BYTE : COBS_NOTHING;
}

bool cobs_decoder_finish(const cobs_decoder *decoder) {
    return decoder->left == 0;
}
