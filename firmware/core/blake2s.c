#include "blake2s.h"

#include "bytes.h"

#include <string.h>

static const uint32_t initial[8] = {
    0x6A09E667u, 0xBB67AE85u, 0x3C6EF372u, 0xA54FF53Au, 0x510E527Fu, 0x9B05688Cu, 0x1F83D9ABu, 0x5BE0CD19u,
};

/* The order of the message words in a round, as pairs for mix(): the first in the low half. */
static const uint8_t sigma[10][8] = {
    {0x10, 0x32, 0x54, 0x76, 0x98, 0xBA, 0xDC, 0xFE}, {0xAE, 0x84, 0xF9, 0x6D, 0xC1, 0x20, 0x7B, 0x35},
    {0x8B, 0x0C, 0x25, 0xDF, 0xEA, 0x63, 0x17, 0x49}, {0x97, 0x13, 0xCD, 0xEB, 0x62, 0xA5, 0x04, 0x8F},
    {0x09, 0x75, 0x42, 0xFA, 0x1E, 0xCB, 0x86, 0xD3}, {0xC2, 0xA6, 0xB0, 0x38, 0xD4, 0x57, 0xEF, 0x91},
    {0x5C, 0xF1, 0xDE, 0xA4, 0x70, 0x36, 0x29, 0xB8}, {0xBD, 0xE7, 0x1C, 0x93, 0x05, 0x4F, 0x68, 0xA2},
    {0xF6, 0x9E, 0x3B, 0x80, 0x2C, 0x7D, 0x41, 0x5A}, {0x2A, 0x48, 0x67, 0x51, 0xBF, 0xE9, 0xC3, 0x0D},
};

static uint32_t rotate(uint32_t value, unsigned bits) {
    return value >> bits | value << (32u - bits);
}

static void mix(uint32_t v[16], unsigned a, unsigned b, unsigned c, unsigned d, uint32_t x, uint32_t y) {
    v[a] += v[b] + x;
    v[d] = rotate(v[d] ^ v[a], 16);
    v[c] += v[d];
    v[b] = rotate(v[b] ^ v[c], 12);
    v[a] += v[b] + y;
    v[d] = rotate(v[d] ^ v[a], 8);
    v[c] += v[d];
    v[b] = rotate(v[b] ^ v[c], 7);
}

static void compress(blake2s *state, const uint8_t block[BLAKE2S_BLOCK_BYTES], size_t size, uint32_t last) {
    uint32_t v[16], m[16];

    state->count[0] += (uint32_t)size;
    if (state->count[0] < size)
        state->count[1]++;
    for (unsigned i = 0; i < 8; i++) {
        v[i] = state->hash[i];
        v[i + 8] = initial[i];
    }
    v[12] ^= state->count[0];
    v[13] ^= state->count[1];
    v[14] ^= last;
    for (unsigned i = 0; i < 16; i++)
        m[i] = get_u32(block + 4 * i);
    for (unsigned round = 0; round < 10; round++) {
        const uint8_t *s = sigma[round];
        for (unsigned i = 0; i < 4; i++)
            mix(v, i, i + 4, i + 8, i + 12, m[s[i] & 15u], m[s[i] >> 4]);
        for (unsigned i = 0; i < 4; i++)
            mix(v, i, (i + 1) % 4 + 4, (i + 2) % 4 + 8, (i + 3) % 4 + 12, m[s[i + 4] & 15u],
                m[s[i + 4] >> 4]);
    }
    for (unsigned i = 0; i < 8; i++)
        state->hash[i] ^= v[i] ^ v[i + 8];
}

void blake2s_start(blake2s *state) {
    memcpy(state->hash, initial, sizeof initial);
    /* RFC 7693 parameter block: fan-out 1, depth 1, no key, digest length. */
    state->hash[0] ^= 0x01010000u | BLAKE2S_DIGEST_BYTES;
    state->count[0] = state->count[1] = 0;
    state->filled = 0;
}

void blake2s_update(blake2s *state, const uint8_t *data, size_t size) {
    while (size > 0) {
        /* A full block waits: the last one is compressed with its own flag. */
        if (state->filled == BLAKE2S_BLOCK_BYTES) {
            compress(state, state->block, BLAKE2S_BLOCK_BYTES, 0);
            state->filled = 0;
        }
        size_t room = BLAKE2S_BLOCK_BYTES - state->filled;
        size_t take = size < room ? size : room;
        memcpy(state->block + state->filled, data, take);
        state->filled += take;
        data += take;
        size -= take;
    }
}

void blake2s_finish(blake2s *state, uint8_t digest[BLAKE2S_DIGEST_BYTES]) {
    memset(state->block + state->filled, 0, BLAKE2S_BLOCK_BYTES - state->filled);
    compress(state, state->block, state->filled, 0xFFFFFFFFu);
    put_u32(digest, state->hash[0]);
    put_u32(digest + 4, state->hash[1]);
}
