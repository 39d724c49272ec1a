#include "frame.h"

#include "bytes.h"
#include "crc32.h"
#include "platform.h"

void frame_parser_start(frame_parser *parser) {
    cobs_decoder_start(&parser->cobs);
    parser->size = 0;
    parser->chunk_size = 0;
    parser->too_long = false;
}

static bool read_frame(const frame_parser *parser, frame *found) {
    const uint8_t *body = parser->body;
    if (parser->too_long || parser->size < FRAME_MIN_BYTES || !cobs_decoder_finish(&parser->cobs))
        return false;
    size_t covered = parser->size - FRAME_CRC_BYTES;
    if (crc32(0, body, covered) != get_u32(body + covered))
        return false;
    found->version = body[0];
    found->type = body[1];
    found->sequence = get_u16(body + 2);
    found->status = get_u16(body + 4);
    found->length = get_u16(body + 6);
    found->payload = body + FRAME_HEADER_BYTES;
    return found->length == covered - FRAME_HEADER_BYTES;
}

frame_result frame_parser_put(frame_parser *parser, uint8_t byte, frame *found) {
    if (byte == 0) {
        frame_result result = FRAME_NONE;
        if (read_frame(parser, found))
            result = FRAME_VALID;
        else if (parser->chunk_size >= FRAME_MIN_BYTES)
            result = FRAME_DAMAGED;
        frame_parser_start(parser);
        return result;
    }
    if (parser->chunk_size < FRAME_MIN_BYTES)
        parser->chunk_size++;
    uint8_t decoded;
    if (cobs_decoder_put(&parser->cobs, byte, &decoded) == COBS_BYTE) {
        if (parser->size < sizeof parser->body)
            parser->body[parser->size++] = decoded;
        else
            parser->too_long = true;
    }
    return FRAME_NONE;
}

void frame_send(uint8_t type, uint16_t sequence, uint16_t status, const uint8_t *payload, size_t length) {
    static cobs_encoder encoder;
    static const uint8_t delimiter = 0;
    uint8_t header[FRAME_HEADER_BYTES] = {FRAME_VERSION, type};
    uint8_t crc[FRAME_CRC_BYTES];

    put_u16(header + 2, sequence);
    put_u16(header + 4, status);
    put_u16(header + 6, (uint16_t)length);
    put_u32(crc, crc32(crc32(0, header, sizeof header), payload, length));

    platform_write(&delimiter, 1);
    cobs_encoder_start(&encoder, platform_write);
    cobs_encoder_put(&encoder, header, sizeof header);
    cobs_encoder_put(&encoder, payload, length);
    cobs_encoder_put(&encoder, crc, sizeof crc);
    cobs_encoder_finish(&encoder);
    platform_write(&delimiter, 1);
}
