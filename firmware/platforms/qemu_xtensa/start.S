/*
 * Entry, vectors (offsets of de212, the same as on ESP32 and ESP32-S3) and the
 * interrupt frame, for the call0 ABI. QEMU's loader has placed .data; a reset
 * loads it again.
 */
    .section .vectors, "ax"
    .globl _vectors
_vectors:                       /* 0x300 above VECBASE: see link.ld */
    wsr a0, excsave1            /* kernel exception; PS.UM is 0, so interrupts come here too */
    rsr a0, exccause
    beqi a0, 4, interrupt       /* level-1 interrupt */
to_trap:
    rsr a2, exccause
    rsr a3, epc1
    rsr a4, excvaddr
    movi a1, _stack_top         /* the old one may be what trapped; nothing returns */
    movi a0, 0x0F               /* EXCM off again, or waiti in the UART driver would not wake */
    wsr a0, ps
    rsync
    movi a0, on_trap
    jx a0
    .org 0x40                   /* user exception: never with PS.UM 0 */
    j to_trap

    .align 4
interrupt:
    addi a1, a1, -64
    s32i a2, a1, 4
    rsr a2, excsave1            /* the interrupted a0 */
    s32i a2, a1, 0
    rsr a2, sar
    s32i a2, a1, 44
    s32i a3, a1, 8
    s32i a4, a1, 12
    s32i a5, a1, 16
    s32i a6, a1, 20
    s32i a7, a1, 24
    s32i a8, a1, 28
    s32i a9, a1, 32
    s32i a10, a1, 36
    s32i a11, a1, 40
    call0 on_interrupt
    l32i a2, a1, 44
    wsr a2, sar
    l32i a0, a1, 0
    l32i a2, a1, 4
    l32i a3, a1, 8
    l32i a4, a1, 12
    l32i a5, a1, 16
    l32i a6, a1, 20
    l32i a7, a1, 24
    l32i a8, a1, 28
    l32i a9, a1, 32
    l32i a10, a1, 36
    l32i a11, a1, 40
    addi a1, a1, 64
    rfe
    .org 0xC0                   /* double exception */
    j to_trap

    .section .init, "ax"
    .literal_position
    .globl _start
    .align 4
_start:
    movi a0, 0
    movi a1, _stack_top
    movi a2, _vector_base
    wsr a2, vecbase
    movi a2, 0
    wsr a2, intenable
    movi a2, 0x0F               /* PS: UM 0, EXCM 0, INTLEVEL 15 */
    wsr a2, ps
    rsync

    movi a2, _bss_start
    movi a3, _bss_end
    movi a4, 0
1:  bgeu a2, a3, 2f
    s32i a4, a2, 0
    addi a2, a2, 4
    j 1b

2:  movi a2, _stack_bottom
    movi a4, 0xA5A5A5A5         /* STACK_PAINT in platform.c */
3:  bgeu a2, a1, 4f
    s32i a4, a2, 0
    addi a2, a2, 4
    j 3b

4:  movi a0, main
    callx0 a0
