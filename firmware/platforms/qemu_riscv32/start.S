/* Entry and trap vector. QEMU's loader has placed .data; a reset loads it again. */
    .section .init, "ax"
    .globl _start
_start:
    .option push
    .option norelax
    la gp, __global_pointer$
    .option pop
    la sp, _stack_top
    la t0, trap
    csrw mtvec, t0

    la a0, _bss_start
    la a1, _bss_end
1:  bgeu a0, a1, 2f
    sw zero, 0(a0)
    addi a0, a0, 4
    j 1b

2:  la a0, _stack_bottom
    li a1, 0xA5A5A5A5       /* STACK_PAINT in platform.c */
3:  bgeu a0, sp, 4f
    sw a1, 0(a0)
    addi a0, a0, 4
    j 3b

4:  call main

    .align 2
trap:
    csrr a0, mcause
    csrr a1, mepc
    csrr a2, mtval
    la sp, _stack_top       /* the old one may be what trapped; nothing returns */
    j on_trap
