/* Little-endian integers in byte buffers of any alignment. */
#ifndef BYTES_H
#define BYTES_H

#include <stdint.h>

uint16_t get_u16(const uint8_t *from);
uint32_t get_u32(const uint8_t *from);
void put_u16(uint8_t *to, uint16_t value);
void put_u32(uint8_t *to, uint32_t value);
void put_u64(uint8_t *to, uint64_t value);

#endif
