/*
 * QEMU `-M virt -cpu lowrisc-ibex`: exactly RV32IMC, what ESP32-C2, -C3 and
 * their successors have in common.
 *
 *   qemu-system-riscv32 -M virt -cpu lowrisc-ibex -m 32M -bios none \
 *       -kernel firmware.elf -icount shift=0 -display none -monitor none \
 *       -chardev socket,id=uart,path=SOCKET -serial chardev:uart
 *
 * With -icount shift=0, mcycle counts retired instructions, the same in every
 * run. Without it mcycle is the host's clock: never report it.
 */
#include "machine.h"

#include "platform.h"

#define WORD(address) (*(volatile uint32_t *)(address))

#define TEST_DEVICE       WORD(0x00100000u)
#define TEST_DEVICE_RESET 0x7777u

#define TIME_LOW          WORD(0x0200BFF8u)
#define TIME_HIGH         WORD(0x0200BFFCu)
#define COMPARE_LOW       WORD(0x02004000u)
#define COMPARE_HIGH      WORD(0x02004004u)
#define TIME_TICKS_PER_US 10u

#define PLIC_UART_INTERRUPT 10u
#define PLIC_PRIORITY(irq)  WORD(0x0C000000u + 4u * (irq))
#define PLIC_ENABLE         WORD(0x0C002000u)
#define PLIC_THRESHOLD      WORD(0x0C200000u)
#define PLIC_CLAIM          WORD(0x0C200004u)

#define MIE_TIMER    (1u << 7)
#define MIE_EXTERNAL (1u << 11)

#define READ_CSR(name, value)  __asm__ volatile("csrr %0, " name : "=r"(value))
#define WRITE_CSR(name, value) __asm__ volatile("csrw " name ", %0" : : "r"(value))

static const platform_info info = {
    .name = "qemu_riscv32",
    .fidelity = "isa",
    .counter = "instructions",
    .counter_scale = "1/1",
    .counter_exact = true,
    /* What the UART cannot take yet waits in QEMU and its socket. */
    .rx_window = 65536,
};

const platform_info *platform_get_info(void) {
    return &info;
}

/* mstatus.MIE stays 0: interrupts end a wfi, but no handler ever runs. */
void machine_init(void) {
    PLIC_PRIORITY(PLIC_UART_INTERRUPT) = 1;
    PLIC_ENABLE = 1u << PLIC_UART_INTERRUPT;
    PLIC_THRESHOLD = 0;
    WRITE_CSR("mie", MIE_TIMER | MIE_EXTERNAL);
}

static void wake_at(uint64_t ticks) {
    static uint64_t armed; /* as the machine starts: a comparison that has long matched */
    if (ticks == armed)
        return; /* each write costs QEMU a turn of its main loop */
    armed = ticks;
    COMPARE_HIGH = UINT32_MAX; /* no false match between the two halves */
    COMPARE_LOW = (uint32_t)ticks;
    COMPARE_HIGH = (uint32_t)(ticks >> 32);
}

void machine_sleep(uint64_t deadline_us) {
    wake_at(deadline_us == SLEEP_FOR_EVER ? UINT64_MAX : deadline_us * TIME_TICKS_PER_US);
    __asm__ volatile("wfi" : : : "memory");
    uint32_t claimed = PLIC_CLAIM;
    if (claimed != 0)
        PLIC_CLAIM = claimed;
}

void machine_reset(void) {
    TEST_DEVICE = TEST_DEVICE_RESET;
    machine_halt();
}

void machine_halt(void) {
    WRITE_CSR("mie", 0);
    for (;;)
        __asm__ volatile("wfi");
}

/* Nothing interrupts here anyway. */
void platform_measure_begin(void) {
}

uint64_t platform_count(void) {
    uint32_t high, low, again;
    do {
        READ_CSR("mcycleh", high);
        READ_CSR("mcycle", low);
        READ_CSR("mcycleh", again);
    } while (high != again);
    return (uint64_t)high << 32 | low;
}

uint64_t platform_microseconds(void) {
    uint32_t high, low;
    do {
        high = TIME_HIGH;
        low = TIME_LOW;
    } while (high != TIME_HIGH);
    return ticks_to_us((uint64_t)high << 32 | low, TIME_TICKS_PER_US);
}

void on_trap(uint32_t cause, uint32_t pc, uint32_t value) __attribute__((noreturn));

void on_trap(uint32_t cause, uint32_t pc, uint32_t value) {
    static const char *const names[3] = {"mcause", "mepc", "mtval"};
    const uint32_t values[3] = {cause, pc, value};
    panic(names, values);
}
