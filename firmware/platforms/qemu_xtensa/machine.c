/*
 * QEMU `-M lx60-nommu -cpu de212`: a Xtensa LX core with the vectors of ESP32
 * and ESP32-S3, code by gcc-xtensa-lx106 (call0 ABI; none of LX6/LX7's
 * zero-overhead loops, min/max or MULSH, so it takes more instructions).
 *
 *   qemu-system-xtensa -M lx60-nommu -cpu de212 -kernel firmware.elf \
 *       -icount shift=7 -display none -monitor none \
 *       -chardev socket,id=uart,path=SOCKET -serial chardev:uart
 *
 * CCOUNT is virtual time at 40 MHz. With -icount shift=7 one instruction takes
 * 128 ns of it, 5.12 ticks, so ticks * 25/128 is instructions, exact after
 * rounding. Without -icount CCOUNT is the host's clock: never report it.
 *
 * CCOUNT has 32 bits. Timer 0 interrupts at least every 2^31 ticks, also
 * while the network runs, and carries them over into 64.
 */
#include "machine.h"

#include "platform.h"

#define WORD(address) (*(volatile uint32_t *)(address))

#define BOARD_RESET      WORD(0x9D020010u)
#define BOARD_RESET_WORD 0xDEADu

#define INTERRUPT_UART   (1u << 0)
#define INTERRUPT_TIMER0 (1u << 6)

#define TICKS_PER_US     40u
#define CARRY_OVER_TICKS 0x80000000u

#define READ_SR(name, value)  __asm__ volatile("rsr %0, " name : "=r"(value))
#define WRITE_SR(name, value) __asm__ volatile("wsr %0, " name "\n rsync" : : "r"(value) : "memory")

static const platform_info info = {
    .name = "qemu_xtensa",
    .fidelity = "isa",
    .counter = "instructions",
    .counter_scale = "25/128",
    .counter_exact = true,
    /* What the UART cannot take yet waits in QEMU and its socket. */
    .rx_window = 65536,
};

static uint64_t ticks; /* CCOUNT carried over into 64 bits */
static uint32_t last_ccount;

const platform_info *platform_get_info(void) {
    return &info;
}

static uint32_t mask_interrupts(void) {
    uint32_t before;
    __asm__ volatile("rsil %0, 15" : "=r"(before) : : "memory");
    return before;
}

static void restore_interrupts(uint32_t before) {
    WRITE_SR("ps", before);
}

/* One function without calls: what it takes is part of every count. */
uint64_t platform_count(void) {
    uint32_t before = mask_interrupts();
    uint32_t now;
    READ_SR("ccount", now);
    uint64_t total = ticks + (now - last_ccount);
    ticks = total;
    last_ccount = now;
    restore_interrupts(before);
    return total;
}

static void wake_in(uint32_t delay_ticks) {
    uint32_t now;
    READ_SR("ccount", now);
    WRITE_SR("ccompare0", now + delay_ticks); /* also clears a pending interrupt */
}

void on_interrupt(void);

void on_interrupt(void) {
    uint32_t pending;
    READ_SR("interrupt", pending);
    if ((pending & INTERRUPT_TIMER0) != 0) {
        (void)platform_count();
        wake_in(CARRY_OVER_TICKS);
    }
    /* The UART's work is done by whoever slept. */
    WRITE_SR("intenable", INTERRUPT_TIMER0);
}

void machine_init(void) {
    (void)platform_count();
    wake_in(CARRY_OVER_TICKS);
    WRITE_SR("intenable", INTERRUPT_TIMER0);
    restore_interrupts(0);
}

void machine_sleep(uint64_t deadline_us) {
    mask_interrupts();
    if (deadline_us != SLEEP_FOR_EVER) {
        uint64_t now_us = ticks_to_us(platform_count(), TICKS_PER_US);
        uint64_t delay_us = deadline_us > now_us ? deadline_us - now_us : 1;
        bool soon = delay_us < CARRY_OVER_TICKS / TICKS_PER_US;
        wake_in(soon ? (uint32_t)delay_us * TICKS_PER_US : CARRY_OVER_TICKS);
    }
    WRITE_SR("intenable", INTERRUPT_TIMER0 | INTERRUPT_UART);
    __asm__ volatile("waiti 0" : : : "memory");
}

void machine_reset(void) {
    BOARD_RESET = BOARD_RESET_WORD;
    machine_halt();
}

void machine_halt(void) {
    WRITE_SR("intenable", 0);
    for (;;)
        __asm__ volatile("waiti 0");
}

/* Only timer 0 can interrupt a run, once every 2^31 ticks: some 100
 * instructions in 419 million, at the same place in every run. */
void platform_measure_begin(void) {
    wake_in(CARRY_OVER_TICKS);
}

uint64_t platform_microseconds(void) {
    return ticks_to_us(platform_count(), TICKS_PER_US);
}

void on_trap(uint32_t cause, uint32_t pc, uint32_t address) __attribute__((noreturn));

void on_trap(uint32_t cause, uint32_t pc, uint32_t address) {
    static const char *const names[3] = {"exccause", "epc1", "excvaddr"};
    const uint32_t values[3] = {cause, pc, address};
    panic(names, values);
}
