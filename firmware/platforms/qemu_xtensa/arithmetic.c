/*
 * Integer arithmetic that GCC calls for and Debian's libgcc of xtensa-lx106
 * lacks, because the ESP8266's ROM used to supply it. The core has a 32-bit
 * multiplier and no divider. Division by zero yields all ones, and the
 * dividend as the remainder, as RISC-V defines it.
 *
 * ARITHMETIC(name) lets a test build the same functions under other names.
 */
#include <stdint.h>

#ifndef ARITHMETIC
#define ARITHMETIC(name) name
#endif

uint32_t ARITHMETIC(__udivsi3)(uint32_t a, uint32_t b);
uint32_t ARITHMETIC(__umodsi3)(uint32_t a, uint32_t b);
int32_t ARITHMETIC(__divsi3)(int32_t a, int32_t b);
int32_t ARITHMETIC(__modsi3)(int32_t a, int32_t b);
uint64_t ARITHMETIC(__muldi3)(uint64_t a, uint64_t b);
uint64_t ARITHMETIC(__udivdi3)(uint64_t a, uint64_t b);
uint64_t ARITHMETIC(__umoddi3)(uint64_t a, uint64_t b);
int64_t ARITHMETIC(__divdi3)(int64_t a, int64_t b);
int64_t ARITHMETIC(__moddi3)(int64_t a, int64_t b);

/* Schoolbook division, one bit of quotient at a time. */
static uint32_t divide32(uint32_t a, uint32_t b, uint32_t *remainder) {
    uint32_t quotient = 0, bit = 1;
    if (b == 0) {
        *remainder = a;
        return UINT32_MAX;
    }
    while (b < a && (b & 0x80000000u) == 0) {
        b <<= 1;
        bit <<= 1;
    }
    for (; bit != 0; bit >>= 1, b >>= 1) {
        if (a >= b) {
            a -= b;
            quotient |= bit;
        }
    }
    *remainder = a;
    return quotient;
}

static uint64_t divide64(uint64_t a, uint64_t b, uint64_t *remainder) {
    uint64_t quotient = 0, bit = 1;
    if (b == 0) {
        *remainder = a;
        return UINT64_MAX;
    }
    if (a >> 32 == 0 && b >> 32 == 0) {
        uint32_t small;
        quotient = divide32((uint32_t)a, (uint32_t)b, &small);
        *remainder = small;
        return quotient;
    }
    while (b < a && b >> 63 == 0) {
        b <<= 1;
        bit <<= 1;
    }
    for (; bit != 0; bit >>= 1, b >>= 1) {
        if (a >= b) {
            a -= b;
            quotient |= bit;
        }
    }
    *remainder = a;
    return quotient;
}

static uint32_t magnitude32(int32_t value) {
    return value < 0 ? 0u - (uint32_t)value : (uint32_t)value;
}

static uint64_t magnitude64(int64_t value) {
    return value < 0 ? 0u - (uint64_t)value : (uint64_t)value;
}

uint32_t ARITHMETIC(__udivsi3)(uint32_t a, uint32_t b) {
    uint32_t remainder;
    return divide32(a, b, &remainder);
}

uint32_t ARITHMETIC(__umodsi3)(uint32_t a, uint32_t b) {
    uint32_t remainder;
    divide32(a, b, &remainder);
    return remainder;
}

int32_t ARITHMETIC(__divsi3)(int32_t a, int32_t b) {
    uint32_t remainder;
    uint32_t quotient = divide32(magnitude32(a), magnitude32(b), &remainder);
    if (b == 0)
        return -1;
    return (int32_t)((a < 0) != (b < 0) ? 0u - quotient : quotient);
}

int32_t ARITHMETIC(__modsi3)(int32_t a, int32_t b) {
    uint32_t remainder;
    divide32(magnitude32(a), magnitude32(b), &remainder);
    return (int32_t)(a < 0 ? 0u - remainder : remainder);
}

uint64_t ARITHMETIC(__muldi3)(uint64_t a, uint64_t b) {
    uint32_t al = (uint32_t)a, bl = (uint32_t)b;
    uint32_t a0 = al & 0xFFFFu, a1 = al >> 16;
    uint32_t b0 = bl & 0xFFFFu, b1 = bl >> 16;
    uint32_t low = a0 * b0;
    uint32_t middle = a1 * b0 + (low >> 16); /* at most 0xFFFF * 0xFFFF + 0xFFFF: no overflow */
    uint32_t other = a0 * b1 + (middle & 0xFFFFu);
    uint32_t high = a1 * b1 + (middle >> 16) + (other >> 16);
    high += al * (uint32_t)(b >> 32) + (uint32_t)(a >> 32) * bl;
    return (uint64_t)high << 32 | (other << 16 | (low & 0xFFFFu));
}

uint64_t ARITHMETIC(__udivdi3)(uint64_t a, uint64_t b) {
    uint64_t remainder;
    return divide64(a, b, &remainder);
}

uint64_t ARITHMETIC(__umoddi3)(uint64_t a, uint64_t b) {
    uint64_t remainder;
    divide64(a, b, &remainder);
    return remainder;
}

int64_t ARITHMETIC(__divdi3)(int64_t a, int64_t b) {
    uint64_t remainder;
    uint64_t quotient = divide64(magnitude64(a), magnitude64(b), &remainder);
    if (b == 0)
        return -1;
    return (int64_t)((a < 0) != (b < 0) ? 0u - quotient : quotient);
}

int64_t ARITHMETIC(__moddi3)(int64_t a, int64_t b) {
    uint64_t remainder;
    divide64(magnitude64(a), magnitude64(b), &remainder);
    return (int64_t)(a < 0 ? 0u - remainder : remainder);
}
