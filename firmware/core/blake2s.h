/*
 * BLAKE2s (RFC 7693), unkeyed, with an 8-byte output: the digest by which host
 * and device know that they speak of the same tensor.
 */
#ifndef BLAKE2S_H
#define BLAKE2S_H

#include <stddef.h>
#include <stdint.h>

#define BLAKE2S_DIGEST_BYTES 8u
#define BLAKE2S_BLOCK_BYTES  64u

typedef struct {
    uint32_t hash[8];
    uint32_t count[2]; /* bytes compressed, low word first */
    uint8_t block[BLAKE2S_BLOCK_BYTES];
    size_t filled;
} blake2s;

void blake2s_start(blake2s *state);
void blake2s_update(blake2s *state, const uint8_t *data, size_t size);
void blake2s_finish(blake2s *state, uint8_t digest[BLAKE2S_DIGEST_BYTES]);

#endif
