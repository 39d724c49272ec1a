/* string.h for machines without a C library: whole words where both sides are aligned, else bytes. */
#include <stdint.h>
#include <string.h>

/* GCC must not turn the loops below into calls of the functions they are. */
#define PLAIN_LOOPS __attribute__((optimize("no-tree-loop-distribute-patterns")))

typedef uint32_t __attribute__((may_alias)) word;

static int aligned(const void *a, const void *b) {
    return (((uintptr_t)a | (uintptr_t)b) & 3u) == 0;
}

/* Sound also where the spans overlap, as long as `to` comes first. */
PLAIN_LOOPS static void copy_upwards(uint8_t *to, const uint8_t *from, size_t size) {
    if (aligned(to, from))
        for (; size >= 4; size -= 4, to += 4, from += 4)
            *(word *)(void *)to = *(const word *)(const void *)from;
    for (; size > 0; size--)
        *to++ = *from++;
}

void *memcpy(void *restrict to, const void *restrict from, size_t size) {
    copy_upwards(to, from, size);
    return to;
}

PLAIN_LOOPS void *memmove(void *to, const void *from, size_t size) {
    uint8_t *out = to;
    const uint8_t *in = from;
    if ((uintptr_t)to < (uintptr_t)from) {
        copy_upwards(to, from, size);
        return to;
    }
    while (size > 0) {
        size--;
        out[size] = in[size];
    }
    return to;
}

PLAIN_LOOPS void *memset(void *to, int value, size_t size) {
    uint8_t *out = to;
    if (aligned(to, to)) {
        uint32_t pattern = (uint8_t)value * 0x01010101u;
        for (; size >= 4; size -= 4, out += 4)
            *(word *)(void *)out = pattern;
    }
    for (; size > 0; size--)
        *out++ = (uint8_t)value;
    return to;
}

PLAIN_LOOPS int memcmp(const void *left, const void *right, size_t size) {
    const uint8_t *a = left;
    const uint8_t *b = right;
    for (; size > 0; size--, a++, b++)
        if (*a != *b)
            return *a - *b;
    return 0;
}

PLAIN_LOOPS size_t strlen(const char *text) {
    size_t length = 0;
    while (text[length] != '\0')
        length++;
    return length;
}

PLAIN_LOOPS int strcmp(const char *left, const char *right) {
    while (*left != '\0' && *left == *right) {
        left++;
        right++;
    }
    return (unsigned char)*left - (unsigned char)*right;
}
