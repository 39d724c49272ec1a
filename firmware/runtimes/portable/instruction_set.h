/*
 * What the kernels must know about the core and the compiler they are compiled
 * for: the only header with a test for an instruction set.
 *
 * SIGNED_BYTE_LOADS: one instruction loads an int8. Xtensa's zero-extends, so
 * that weights cost less when four come with one word.
 * MANY_REGISTERS: sixteen sums fit beside their operands, else eight.
 * HIGH_PRODUCT: one instruction gives the upper half of a 64-bit product. The
 * Xtensa cores with windowed registers (ESP32, S2, S3) have it, the LX106 not.
 */
#ifndef PORTABLE_INSTRUCTION_SET_H
#define PORTABLE_INSTRUCTION_SET_H

#ifdef __XTENSA__
#define SIGNED_BYTE_LOADS 0
#define MANY_REGISTERS    0
#else
#define SIGNED_BYTE_LOADS 1
#define MANY_REGISTERS    1
#endif

#if defined __XTENSA__ && !defined __XTENSA_WINDOWED_ABI__
#define HIGH_PRODUCT 0
#else
#define HIGH_PRODUCT 1
#endif

/* For functions whose sums fill the registers. GCC would gather the loads of a whole turn at
 * its top and put off the additions, then spill: half as many instructions again. */
#ifdef __clang__
#define IN_THIS_ORDER
#else
#define IN_THIS_ORDER __attribute__((optimize("no-schedule-insns", "no-tree-ter")))
#endif

/* The same, for a loop that is entered in the middle: GCC would lay it out from there, for one jump
 * more in each turn. Xtensa's branches reach so short a way that keeping the layout costs more. */
#if defined __clang__ || !MANY_REGISTERS
#define ENTERED_IN_THIS_ORDER IN_THIS_ORDER
#else
#define ENTERED_IN_THIS_ORDER                                                                                \
    __attribute__((optimize("no-schedule-insns", "no-tree-ter", "no-reorder-blocks")))
#endif

#endif
