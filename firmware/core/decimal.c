#include "decimal.h"

#include <string.h>

#define MANTISSA_BITS 23
#define EXPONENT_BIAS 127

static const uint64_t powers_of_ten[] = {
    1u,
    10u,
    100u,
    1000u,
    10000u,
    100000u,
    1000000u,
    10000000u,
    100000000u,
    1000000000u,
    10000000000u,
    100000000000u,
    1000000000000u,
    10000000000000u,
    100000000000000u,
    1000000000000000u,
    10000000000000000u,
    100000000000000000u,
    1000000000000000000u,
    10000000000000000000u,
};

void decimal_unsigned(char text[DECIMAL_BYTES], uint64_t value, unsigned least) {
    bool leading = true;
    for (unsigned place = sizeof powers_of_ten / sizeof powers_of_ten[0]; place-- > 0;) {
        char digit = '0';
        for (; value >= powers_of_ten[place]; digit++)
            value -= powers_of_ten[place];
        leading = leading && digit == '0' && place >= least && place > 0;
        if (!leading)
            *text++ = digit;
    }
    *text = '\0';
}

/* magnitude / 2^shift, halves to even. */
static uint64_t shift_right(uint64_t magnitude, unsigned shift) {
    if (shift > 63)
        return 0; /* `magnitude` is below 2^63: less than a half */
    uint64_t quotient = magnitude >> shift;
    uint64_t rest = magnitude - (quotient << shift);
    uint64_t half = (uint64_t)1 << (shift - 1);
    return quotient + (rest > half || (rest == half && (quotient & 1u) != 0));
}

void decimal_thousandths(char text[DECIMAL_BYTES], int32_t steps, uint32_t scale_bits) {
    uint32_t exponent = scale_bits >> MANTISSA_BITS & 0xFFu;
    uint32_t mantissa = scale_bits & 0x7FFFFFu;
    uint32_t size = steps < 0 ? 0u - (uint32_t)steps : (uint32_t)steps;
    bool finite = exponent < 0xFFu;

    if (!finite && mantissa != 0) {
        memcpy(text, "nan", sizeof "nan");
        return;
    }
    if (exponent > 0)
        mantissa |= 1u << MANTISSA_BITS;
    else
        exponent = 1;
    if ((steps < 0) != (scale_bits >> 31 != 0))
        *text++ = '-';

    /* Below 2^63 as |steps| < 2^29. */
    uint64_t magnitude = (uint64_t)size * mantissa * 1000u;
    int shift = EXPONENT_BIAS + MANTISSA_BITS - (int)exponent;
    if (shift > 0)
        magnitude = shift_right(magnitude, (unsigned)shift);
    for (; shift < 0 && magnitude >> 62 == 0; shift++)
        magnitude <<= 1;
    if (!finite || (shift < 0 && magnitude != 0)) {
        memcpy(text, "inf", sizeof "inf");
        return;
    }
    decimal_unsigned(text, magnitude, 4);
    size_t digits = strlen(text);
    memmove(text + digits - 2, text + digits - 3, 4);
    text[digits - 3] = '.';
}

bool decimal_parse(const char *text, uint32_t most, uint32_t *value) {
    uint32_t total = 0;
    if (*text == '\0')
        return false;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9')
            return false;
        uint32_t digit = (uint32_t)(*text - '0');
        if (total > (most - digit) / 10u)
            return false;
        total = total * 10u + digit;
    }
    *value = total;
    return total <= most;
}
