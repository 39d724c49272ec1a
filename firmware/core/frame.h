/* Frames of docs/protocol.md §1: out of a byte stream, and onto the wire. */
#ifndef FRAME_H
#define FRAME_H

#include "cobs.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifndef LINK_MAX_PAYLOAD
#define LINK_MAX_PAYLOAD 4096
#endif
#if LINK_MAX_PAYLOAD < 256 || LINK_MAX_PAYLOAD > 65535
#error "LINK_MAX_PAYLOAD must be 256 to 65535: it is a u16 on the wire, and replies must fit"
#endif

#define FRAME_VERSION      1u
#define FRAME_HEADER_BYTES 8u
#define FRAME_CRC_BYTES    4u
#define FRAME_MIN_BYTES    (FRAME_HEADER_BYTES + FRAME_CRC_BYTES)
#define FRAME_MAX_BYTES    (FRAME_HEADER_BYTES + LINK_MAX_PAYLOAD + FRAME_CRC_BYTES)

typedef struct {
    uint8_t version;
    uint8_t type;
    uint16_t sequence;
    uint16_t status;
    uint16_t length;
    const uint8_t *payload; /* valid until the next frame_parser_put() */
} frame;

typedef struct {
    cobs_decoder cobs;
    uint8_t body[FRAME_MAX_BYTES];
    size_t size;       /* bytes of `body` decoded so far */
    size_t chunk_size; /* bytes since the last zero, counted up to FRAME_MIN_BYTES */
    bool too_long;
} frame_parser;

typedef enum {
    FRAME_NONE,
    FRAME_VALID,
    FRAME_DAMAGED /* a chunk of at least FRAME_MIN_BYTES was dropped */
} frame_result;

void frame_parser_start(frame_parser *parser);
frame_result frame_parser_put(frame_parser *parser, uint8_t byte, frame *found);

void frame_send(uint8_t type, uint16_t sequence, uint16_t status, const uint8_t *payload, size_t length);

#endif
