#include "blake2s.h"

#include "bytes.h"

#include <string.h>

static const uint32_t initial[8] = {
    0x6A09E667u, 0xBB67AE85u, 0x3C6EF372u, 0xA54FF53Au, 0x510E527Fu, 0x9B05688Cu, 0x1F83D9ABu, 0x5BE0CD19u,
};

static const uint8_t sigma[10][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
    {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
    {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4},
    {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
    {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13},
    {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
    {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11},
    {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
    {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5},
    {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0},
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
            mix(v, i, i + 4, i + 8, i + 12, m[s[2 * i]], m[s[2 * i + 1]]);
        for (unsigned i = 0; i < 4; i++)
            mix(v, i, (i + 1) % 4 + 4, (i + 2) % 4 + 8, (i + 3) % 4 + 12, m[s[2 * i + 8]], m[s[2 * i + 9]]);
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
