/* CRC-32 as in zlib: polynomial 0x04C11DB7 reflected, initial value and final xor 0xFFFFFFFF. */
#ifndef CRC32_H
#define CRC32_H

#include <stddef.h>
#include <stdint.h>

/* `crc` is 0 for the first piece, the previous result for the next one. */
uint32_t crc32(uint32_t crc, const uint8_t *data, size_t size);

#endif
