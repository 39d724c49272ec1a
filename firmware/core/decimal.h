/* Numbers as text on the wire, with integers alone: no float on the target, no 64-bit division. */
#ifndef DECIMAL_H
#define DECIMAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DECIMAL_BYTES 24u

/* Digits of `value`, at least `least`, with a terminating zero. */
void decimal_unsigned(char text[DECIMAL_BYTES], uint64_t value, unsigned least);

/*
 * `steps` * scale as printf's "%0.3f" writes the exact product: nearest, halves to even.
 * `scale_bits` are the IEEE-754 bits of the scale; |steps| < 2^29. "nan" and "inf" where printf has
 * them, and "inf" too from 2^63 thousandths on.
 */
void decimal_thousandths(char text[DECIMAL_BYTES], int32_t steps, uint32_t scale_bits);

/* false if `text` is not a number of digits alone, or is above `most`. */
bool decimal_parse(const char *text, uint32_t most, uint32_t *value);

#endif
